namespace Kapell.Etcd.Client;

/// <summary>Where the store is and how to speak to it. Files are PEM.</summary>
public sealed record EtcdClientOptions
{
    /// <summary><c>http://</c> or <c>https://</c> URLs, in order of preference.</summary>
    public required IReadOnlyList<string> Endpoints { get; init; }

    /// <summary>Empty: the system's trusted authorities.</summary>
    public string CaFile { get; init; } = "";

    public string CertFile { get; init; } = "";

    public string KeyFile { get; init; } = "";

    public TimeSpan DialTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long one read or write may take in all.</summary>
    public TimeSpan CallTimeout { get; init; } = TimeSpan.FromSeconds(20);
}

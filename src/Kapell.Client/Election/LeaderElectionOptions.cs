namespace Kapell.Client.Election;

/// <summary>Which lease is fought for, as whom, and how fast (client-go's defaults: 15 s, 10 s, 2 s).</summary>
public sealed record LeaderElectionOptions
{
    public string Namespace { get; init; } = "kube-system";

    public required string Name { get; init; }

    /// <summary>Unique among candidates: upstream uses host name, underscore, random.</summary>
    public required string Identity { get; init; }

    public TimeSpan LeaseDuration { get; init; } = TimeSpan.FromSeconds(15);

    public TimeSpan RenewDeadline { get; init; } = TimeSpan.FromSeconds(10);

    public TimeSpan RetryPeriod { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>On a clean stop the lease is given up, so that the next leader need not wait for it to run out.</summary>
    public bool ReleaseOnCancel { get; init; } = true;
}

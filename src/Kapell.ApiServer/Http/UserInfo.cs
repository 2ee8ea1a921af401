namespace Kapell.ApiServer.Http;

/// <summary>Who asks, once authenticated (upstream: authentication/user).</summary>
public sealed record UserInfo
{
    public const string Anonymous = "system:anonymous";
    public const string AllAuthenticated = "system:authenticated";
    public const string AllUnauthenticated = "system:unauthenticated";
    public const string Masters = "system:masters";

    public required string Name { get; init; }

    public string Uid { get; init; } = "";

    public IReadOnlyList<string> Groups { get; init; } = [];

    public IReadOnlyDictionary<string, IReadOnlyList<string>> Extra { get; init; } = new Dictionary<string, IReadOnlyList<string>>();

    /// <summary>The server itself, when it writes for nobody (bootstrap).</summary>
    public static UserInfo Loopback { get; } = new() { Name = "system:apiserver", Groups = [Masters, AllAuthenticated] };

    public static UserInfo AnonymousUser { get; } = new() { Name = Anonymous, Groups = [AllUnauthenticated] };
}

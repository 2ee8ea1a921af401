using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>The answer of one <see cref="IAuthenticator"/>: a user, "not mine" (both null), or a failure that ends in 401 unless another knows the caller.</summary>
public readonly record struct AuthenticationResult(UserInfo? User, string? Failure)
{
    public static AuthenticationResult NotMine => default;

    public static AuthenticationResult Of(UserInfo user) => new(user, null);

    public static AuthenticationResult Fail(string why) => new(null, why);
}

/// <summary>
/// One way to know who asks (certificate, token). Asked in order; the first user wins. The server adds
/// <c>system:authenticated</c> itself. Called from many requests at once.
/// </summary>
public interface IAuthenticator
{
    ValueTask<AuthenticationResult> AuthenticateAsync(HttpContext context, CancellationToken cancel);
}

/// <summary>What an authorizer decides about (upstream: authorizer.Attributes).</summary>
public sealed record AuthorizationAttributes
{
    public required UserInfo User { get; init; }

    public required string Verb { get; init; }

    public string Namespace { get; init; } = "";

    public string Group { get; init; } = "";

    public string Version { get; init; } = "";

    public string Resource { get; init; } = "";

    public string Subresource { get; init; } = "";

    public string Name { get; init; } = "";

    public bool IsResourceRequest { get; init; } = true;

    public string Path { get; init; } = "";

    /// <summary>As the request gave it; the Node authorizer reads it.</summary>
    public string FieldSelector { get; init; } = "";

    public bool IsReadOnly => Verb is "get" or "list" or "watch";

    public static AuthorizationAttributes Of(UserInfo user, RequestInfo info) => new()
    {
        User = user, Verb = info.Verb, Namespace = info.Namespace, Group = info.Group, Version = info.Version, Resource = info.Resource,
        Subresource = info.Subresource, Name = info.Name, IsResourceRequest = info.IsResourceRequest, Path = info.Path,
        FieldSelector = info.FieldSelector,
    };
}

/// <summary>An authorizer's word.</summary>
public enum Decision
{
    NoOpinion,
    Allow,
    Deny,
}

/// <summary>A decision and its reason, shown to the caller on refusal.</summary>
public readonly record struct AuthorizationResult(Decision Decision, string Reason);

/// <summary>One authorizer of the chain: asked in order until one allows or denies; nobody allowing means 403.</summary>
public interface IAuthorizer
{
    ValueTask<AuthorizationResult> AuthorizeAsync(AuthorizationAttributes attributes, CancellationToken cancel);
}

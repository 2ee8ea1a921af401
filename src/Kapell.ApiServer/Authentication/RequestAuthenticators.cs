using Kapell.ApiServer.Http;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Authentication;

/// <summary>Finds the bearer token of a request: the Authorization header, or the WebSocket subprotocol browsers must use.</summary>
internal sealed class TokenAuthenticator(BearerTokens tokens) : IAuthenticator
{
    private const string SubprotocolPrefix = "base64url.bearer.authorization.k8s.io.";

    public async ValueTask<AuthenticationResult> AuthenticateAsync(HttpContext context, CancellationToken cancel)
    {
        string? token = FromHeader(context.Request) ?? FromSubprotocol(context.Request);
        return token is null ? AuthenticationResult.NotMine : await tokens.AuthenticateAsync(token, tokens.Accounts.ApiAudiences, cancel);
    }

    private static string? FromHeader(HttpRequest request)
    {
        string text = request.Headers.Authorization.ToString().Trim();
        int space = text.IndexOf(' ', StringComparison.Ordinal);
        if (space <= 0 || !text.AsSpan(0, space).Equals("bearer", StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        string token = text[(space + 1)..].Trim();
        return token.Length == 0 ? null : token;
    }

    private static string? FromSubprotocol(HttpRequest request)
    {
        foreach (string? value in request.Headers.SecWebSocketProtocol)
        {
            foreach (string protocol in (value ?? "").Split(',', StringSplitOptions.TrimEntries))
            {
                if (protocol.StartsWith(SubprotocolPrefix, StringComparison.Ordinal))
                {
                    return Decode(protocol[SubprotocolPrefix.Length..]);
                }
            }
        }

        return null;
    }

    private static string? Decode(string text)
    {
        byte[] bytes = new byte[text.Length];
        return System.Buffers.Text.Base64Url.TryDecodeFromChars(text, bytes, out int length) ? System.Text.Encoding.UTF8.GetString(bytes, 0, length) : null;
    }
}

/// <summary>
/// Requests without credentials are those of system:anonymous, whom authorization judges, when it judges at all: with AlwaysAllow
/// only health and version are answered (upstream: AnonymousAuth is not allowed with the AlwaysAllow authorizer). Must stand last.
/// </summary>
/// <param name="anonymous">The flag.</param>
/// <param name="everythingAllowed">Authorization refuses nobody.</param>
internal sealed class NoCredentialsAuthenticator(bool anonymous, bool everythingAllowed) : IAuthenticator
{
    public ValueTask<AuthenticationResult> AuthenticateAsync(HttpContext context, CancellationToken cancel) =>
        ValueTask.FromResult(anonymous && (!everythingAllowed || IsPublic(context.Request.Path.Value ?? ""))
            ? AuthenticationResult.NotMine
            : AuthenticationResult.Fail("no credentials"));

    private static bool IsPublic(string path) => path.TrimEnd('/') is "/healthz" or "/livez" or "/readyz" or "/version";
}

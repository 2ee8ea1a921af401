using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authentication;

/// <summary>Tokens kept as secrets kube-system/bootstrap-token-ID (upstream: plugin/pkg/auth/authenticator/token/bootstrap).</summary>
internal sealed partial class BootstrapTokens(IObjectLookup objects, TimeProvider time)
{
    private const string GroupDefault = "system:bootstrappers";
    private const string SecretType = "bootstrap.kubernetes.io/token";

    public async ValueTask<AuthenticationResult> AuthenticateAsync(string token, CancellationToken cancel)
    {
        Match match = TokenForm().Match(token);
        if (!match.Success)
        {
            return AuthenticationResult.Fail("unknown token");
        }

        string id = match.Groups[1].Value;
        KubeObject? secret = await objects.FindAsync("", "secrets", new ObjectKey("kube-system", "bootstrap-token-" + id), cancel);
        if (secret is null || secret.IsDeleting || secret.Root.Text("type") != SecretType || Value(secret, "token-id") != id)
        {
            return AuthenticationResult.Fail("unknown token");
        }

        bool same = CryptographicOperations.FixedTimeEquals(
            Encoding.UTF8.GetBytes(Value(secret, "token-secret")), Encoding.UTF8.GetBytes(match.Groups[2].Value));
        string expiration = Value(secret, "expiration");
        bool expired = expiration.Length > 0
            && (!KubeTime.TryParse(expiration, out DateTimeOffset until) || time.GetUtcNow() >= until);
        if (!same || expired || Value(secret, "usage-bootstrap-authentication") != "true")
        {
            return AuthenticationResult.Fail("token is not valid for authentication");
        }

        string[] extra = Value(secret, "auth-extra-groups").Split(',', StringSplitOptions.RemoveEmptyEntries);
        return extra.All(g => GroupForm().IsMatch(g))
            ? AuthenticationResult.Of(new UserInfo { Name = "system:bootstrap:" + id, Groups = [GroupDefault, .. extra] })
            : AuthenticationResult.Fail("token has invalid groups");
    }

    private static string Value(KubeObject secret, string key)
    {
        byte[] buffer = new byte[1024];
        return Convert.TryFromBase64String(secret.Root.Get("data").Text(key), buffer, out int length) ? Encoding.UTF8.GetString(buffer, 0, length) : "";
    }

    [GeneratedRegex("^([a-z0-9]{6})\\.([a-z0-9]{16})$", RegexOptions.CultureInvariant)]
    private static partial Regex TokenForm();

    [GeneratedRegex("^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$", RegexOptions.CultureInvariant)]
    private static partial Regex GroupForm();
}

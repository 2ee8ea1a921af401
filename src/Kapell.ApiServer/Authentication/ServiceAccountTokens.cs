using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authentication;

/// <summary>What a new token is to say.</summary>
internal sealed record TokenOrder
{
    public required KubeObject ServiceAccount { get; init; }

    public KubeObject? Pod { get; init; }

    public KubeObject? Secret { get; init; }

    /// <summary>Name and uid of the node; the uid is empty when the node object is gone.</summary>
    public (string Name, string Uid)? Node { get; init; }

    public required IReadOnlyList<string> Audiences { get; init; }

    public required TimeSpan Life { get; init; }

    /// <summary>When the client should have renewed it, for a life extended beyond what was asked.</summary>
    public TimeSpan? WarnAfter { get; init; }
}

/// <summary>Issues and judges service account tokens; claims as upstream's pkg/serviceaccount (claims.go, legacy.go).</summary>
internal sealed class ServiceAccountTokens(
    ServiceAccountKeys keys, IReadOnlyList<string> issuers, IReadOnlyList<string> audiences, IObjectLookup objects, TimeProvider time)
{
    public const string LegacyIssuer = "kubernetes/serviceaccount";
    public const string UserPrefix = "system:serviceaccount:";
    public const string GroupAll = "system:serviceaccounts";

    private const string PodNameExtra = "authentication.kubernetes.io/pod-name";
    private const string PodUidExtra = "authentication.kubernetes.io/pod-uid";
    private const string NodeNameExtra = "authentication.kubernetes.io/node-name";
    private const string NodeUidExtra = "authentication.kubernetes.io/node-uid";
    private const string CredentialIdExtra = "authentication.kubernetes.io/credential-id";

    /// <summary>A token may outlive its deleted object by this much (upstream: jwt leeway of one minute).</summary>
    private static readonly TimeSpan Leeway = TimeSpan.FromMinutes(1);

    public ServiceAccountKeys Keys { get; } = keys;

    /// <summary>What a token is for when it names no audience, and what callers of this server must be for.</summary>
    public IReadOnlyList<string> ApiAudiences { get; } = audiences;

    public string Issuer => issuers.Count > 0 ? issuers[0] : "";

    public bool CanIssue => Keys.Signing is not null && issuers.Count > 0;

    public string Issue(TokenOrder order)
    {
        DateTimeOffset now = time.GetUtcNow();
        KubeObject account = order.ServiceAccount;
        JsonObject own = new() { ["namespace"] = account.Namespace };
        if (order.Node is { } node)
        {
            own["node"] = node.Uid.Length > 0 ? Reference(node.Name, node.Uid) : new JsonObject { ["name"] = node.Name };
        }

        if (order.Pod is { } pod)
        {
            own["pod"] = Reference(pod.Name, pod.Uid);
        }

        if (order.Secret is { } secret)
        {
            own["secret"] = Reference(secret.Name, secret.Uid);
        }

        own["serviceaccount"] = Reference(account.Name, account.Uid);
        if (order.WarnAfter is { } warn)
        {
            own["warnafter"] = (now + warn).ToUnixTimeSeconds();
        }

        JsonObject claims = new()
        {
            ["aud"] = new JsonArray([.. order.Audiences.Select(a => (JsonNode)a)]),
            ["exp"] = (now + order.Life).ToUnixTimeSeconds(),
            ["iat"] = now.ToUnixTimeSeconds(),
            ["iss"] = Issuer,
            ["jti"] = Guid.NewGuid().ToString(),
            ["kubernetes.io"] = own,
            ["nbf"] = now.ToUnixTimeSeconds(),
            ["sub"] = UserName(account.Namespace, account.Name),
        };
        return Jwt.Sign(claims, Keys.Signing!);
    }

    public static string UserName(string space, string name) => UserPrefix + space + ":" + name;

    /// <summary>Namespace and name in a service account's user name, or null for other users.</summary>
    public static ObjectKey? AccountOf(string userName)
    {
        string[] parts = userName.StartsWith(UserPrefix, StringComparison.Ordinal) ? userName[UserPrefix.Length..].Split(':') : [];
        return parts.Length == 2 ? new ObjectKey(parts[0], parts[1]) : null;
    }

    /// <summary>True when the text claims to be one of this server's tokens; others are left to other authenticators.</summary>
    public bool IsOurs(Jwt token)
    {
        string issuer = token.Claims.Text("iss");
        return issuer == LegacyIssuer || issuers.Contains(issuer);
    }

    /// <summary>Everything but the state of the objects: signature, times, audience. Null when good, else why not.</summary>
    public string? Fault(Jwt token, IReadOnlyList<string> wanted)
    {
        if (!token.IsSignedBy(Keys.Verifying))
        {
            return "failed to verify token signature";
        }

        long now = time.GetUtcNow().ToUnixTimeSeconds();
        long leeway = (long)Leeway.TotalSeconds;
        long expires = token.Claims.Long("exp", long.MaxValue);
        if (expires != long.MaxValue && now - leeway > expires)
        {
            return "service account token has expired";
        }

        if (now + leeway < token.Claims.Long("nbf"))
        {
            return "service account token is not valid yet";
        }

        if (token.Claims.Text("iss") == LegacyIssuer)
        {
            return null;
        }

        if (expires == long.MaxValue)
        {
            return "service account token has no expiry";
        }

        return token.Audiences.Any(wanted.Contains)
            ? null
            : $"token audiences [{string.Join(' ', token.Audiences)}] is invalid for the target audiences [{string.Join(' ', wanted)}]";
    }

    /// <summary>The user of a token whose <see cref="Fault"/> is null: its objects must still live, with the same uids.</summary>
    public ValueTask<AuthenticationResult> UserOfAsync(Jwt token, CancellationToken cancel) =>
        token.Claims.Text("iss") == LegacyIssuer ? LegacyUserAsync(token, cancel) : BoundUserAsync(token.Claims, cancel);

    private async ValueTask<AuthenticationResult> BoundUserAsync(JsonElement claims, CancellationToken cancel)
    {
        JsonElement own = claims.Get("kubernetes.io");
        string space = own.Text("namespace");
        JsonElement account = own.Get("serviceaccount");
        string name = account.Text("name");
        if (space.Length == 0 || name.Length == 0 || claims.Text("sub") != UserName(space, name))
        {
            return AuthenticationResult.Fail("token does not name a service account");
        }

        Dictionary<string, IReadOnlyList<string>> extra = new(StringComparer.Ordinal);
        if (claims.Text("jti") is { Length: > 0 } id)
        {
            extra[CredentialIdExtra] = ["JTI=" + id];
        }

        if (await GoneAsync("serviceaccounts", space, account, cancel))
        {
            return AuthenticationResult.Fail("service account has been deleted or its UID does not match the token");
        }

        foreach ((string kind, string plural) in ((string, string)[])[("pod", "pods"), ("secret", "secrets")])
        {
            if (own.Has(kind) && await GoneAsync(plural, space, own.Get(kind), cancel))
            {
                return AuthenticationResult.Fail($"the {kind} the token is bound to has been deleted or its UID does not match the token");
            }
        }

        JsonElement pod = own.Get("pod");
        JsonElement node = own.Get("node");
        if (pod.ValueKind == JsonValueKind.Object)
        {
            extra[PodNameExtra] = [pod.Text("name")];
            extra[PodUidExtra] = [pod.Text("uid")];
        }
        else if (node.ValueKind == JsonValueKind.Object && await GoneAsync("nodes", "", node, cancel))
        {
            return AuthenticationResult.Fail("the node the token is bound to has been deleted or its UID does not match the token");
        }

        if (node.ValueKind == JsonValueKind.Object)
        {
            extra[NodeNameExtra] = [node.Text("name")];
            if (node.Text("uid").Length > 0)
            {
                extra[NodeUidExtra] = [node.Text("uid")];
            }
        }

        return AuthenticationResult.Of(User(space, name, account.Text("uid"), extra));
    }

    private async ValueTask<AuthenticationResult> LegacyUserAsync(Jwt token, CancellationToken cancel)
    {
        JsonElement claims = token.Claims;
        string space = claims.Text("kubernetes.io/serviceaccount/namespace");
        string secretName = claims.Text("kubernetes.io/serviceaccount/secret.name");
        string name = claims.Text("kubernetes.io/serviceaccount/service-account.name");
        string uid = claims.Text("kubernetes.io/serviceaccount/service-account.uid");
        if (space.Length == 0 || secretName.Length == 0 || name.Length == 0 || uid.Length == 0 || claims.Text("sub") != UserName(space, name))
        {
            return AuthenticationResult.Fail("legacy token misses claims");
        }

        // The token lives as long as the secret that holds it (upstream: legacyValidator with lookup).
        KubeObject? secret = await objects.FindAsync("", "secrets", new ObjectKey(space, secretName), cancel);
        if (secret is null || secret.IsDeleting)
        {
            return AuthenticationResult.Fail("service account token has been invalidated");
        }

        // One that was exchanged in its secret is void, whatever its signature says.
        if (!IsTokenOf(secret, token.Text))
        {
            return AuthenticationResult.Fail("service account token does not match server's copy");
        }

        KubeObject? account = await objects.FindAsync("", "serviceaccounts", new ObjectKey(space, name), cancel);
        return account is null || account.IsDeleting || account.Uid != uid
            ? AuthenticationResult.Fail($"service account {space}/{name} has been deleted")
            : AuthenticationResult.Of(User(space, name, uid, new Dictionary<string, IReadOnlyList<string>>()));
    }

    private static bool IsTokenOf(KubeObject secret, string token)
    {
        string held = secret.Root.Get("data").Text("token");
        byte[] bytes = new byte[held.Length];
        return Convert.TryFromBase64String(held, bytes, out int length) && length > 0
            && System.Security.Cryptography.CryptographicOperations.FixedTimeEquals(bytes.AsSpan(0, length), System.Text.Encoding.ASCII.GetBytes(token));
    }

    private async ValueTask<bool> GoneAsync(string resource, string space, JsonElement reference, CancellationToken cancel)
    {
        KubeObject? there = await objects.FindAsync("", resource, new ObjectKey(space, reference.Text("name")), cancel);
        return there is null
            || there.Uid != reference.Text("uid")
            || (there.Metadata.Has("deletionTimestamp")
                && KubeTime.TryParse(there.Metadata.Text("deletionTimestamp"), out DateTimeOffset deleted)
                && time.GetUtcNow() > deleted + Leeway);
    }

    private static UserInfo User(string space, string name, string uid, IReadOnlyDictionary<string, IReadOnlyList<string>> extra) => new()
    {
        Name = UserName(space, name), Uid = uid, Groups = [GroupAll, GroupAll + ":" + space], Extra = extra,
    };

    private static JsonObject Reference(string name, string uid) => new() { ["name"] = name, ["uid"] = uid };
}

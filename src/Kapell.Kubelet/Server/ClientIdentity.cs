using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Client;
using Kapell.Machinery;

namespace Kapell.Kubelet.Server;

/// <summary>Who a client is by its certificate: common name and organizations; who has no name is nobody, whatever else it says.</summary>
internal sealed record ClientIdentity(string User, IReadOnlyList<string> Groups)
{
    public static ClientIdentity Of(X509Certificate2? certificate)
    {
        if (certificate is null || CertificateSubject.Of(certificate) is not { CommonName.Length: > 0 } subject)
        {
            return new ClientIdentity("system:anonymous", ["system:unauthenticated"]);
        }

        return new ClientIdentity(subject.CommonName, [.. subject.Organizations, "system:authenticated"]);
    }
}

/// <summary>Asks the API server whether a client may use the kubelet, as upstream's webhook mode does; answers are kept for a while.</summary>
internal sealed class KubeletAuthorizer(KubeClient? client, KubeletOptions options, TimeProvider time)
{
    private const int EntriesMax = 1000;
    private static readonly TimeSpan KeepAllowed = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan KeepDenied = TimeSpan.FromSeconds(30);
    private static readonly GroupVersionResource Reviews = new("authorization.k8s.io", "v1", "subjectaccessreviews");
    private readonly ConcurrentDictionary<string, (bool Allowed, DateTimeOffset Until)> _cache = new(StringComparer.Ordinal);

    /// <returns>Null when allowed, else upstream's words.</returns>
    public async Task<string?> RefusalAsync(ClientIdentity who, string method, string path, CancellationToken cancellation)
    {
        // system:masters may do everything; asking would say the same.
        if (options.AuthorizationMode == "AlwaysAllow" || who.Groups.Contains("system:masters"))
        {
            return null;
        }

        string verb = method switch { "POST" => "create", "PUT" => "update", "PATCH" => "patch", "DELETE" => "delete", _ => "get" };
        string subresource = path.Split('/', 3) switch
        {
            ["", "stats", ..] => "stats",
            ["", "metrics", ..] => "metrics",
            ["", "logs", ..] => "log",
            ["", "healthz", ..] => "healthz",
            ["", "pods" or "runningpods", ..] => "pods",
            _ => "proxy",
        };
        string refusal = $"Forbidden (user={who.User}, verb={verb}, resource=nodes, subresource=[{subresource}])";
        if (client is null)
        {
            return refusal;
        }

        string key = $"{who.User}\n{string.Join(',', who.Groups)}\n{verb}\n{subresource}";
        DateTimeOffset now = time.GetUtcNow();
        if (_cache.TryGetValue(key, out (bool Allowed, DateTimeOffset Until) known) && now < known.Until)
        {
            return known.Allowed ? null : refusal;
        }

        bool allowed = await AskAsync(who, verb, subresource, cancellation);
        if (_cache.Count > EntriesMax)
        {
            _cache.Clear();
        }

        _cache[key] = (allowed, now + (allowed ? KeepAllowed : KeepDenied));
        return allowed ? null : refusal;
    }

    private async Task<bool> AskAsync(ClientIdentity who, string verb, string subresource, CancellationToken cancellation)
    {
        JsonArray groups = [];
        foreach (string group in who.Groups)
        {
            groups.Add((JsonNode?)JsonValue.Create(group));
        }

        JsonObject review = new()
        {
            ["apiVersion"] = "authorization.k8s.io/v1", ["kind"] = "SubjectAccessReview", ["metadata"] = new JsonObject(),
            ["spec"] = new JsonObject
            {
                ["user"] = who.User, ["groups"] = groups,
                ["resourceAttributes"] = new JsonObject
                {
                    ["verb"] = verb, ["resource"] = "nodes", ["subresource"] = subresource, ["name"] = options.NodeName, ["version"] = "v1",
                },
            },
        };
        KubeObject answer = await client!.CreateAsync(Reviews, "", review, cancellation);
        return answer.Status.Bool("allowed");
    }
}

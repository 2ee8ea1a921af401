using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;

namespace Kapell.Kubelet.Volumes;

/// <summary>The files of configMap, secret, downwardAPI and projected volumes.</summary>
internal sealed class VolumePayloads(IObjectSource objects, KubeletOptions options, Func<string, decimal> allocatable, TimeProvider time)
{
    private const long DefaultMode = 0x1A4; // 0644
    private readonly ConcurrentDictionary<string, Token> _tokens = new(StringComparer.Ordinal);

    public async Task<Dictionary<string, PayloadFile>> BuildAsync(
        Pod pod, JsonElement volume, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        Dictionary<string, PayloadFile> files = new(StringComparer.Ordinal);
        JsonElement projected = volume.Get("projected");
        if (projected.ValueKind != JsonValueKind.Object)
        {
            foreach ((string field, string nameField) in ((string, string)[])[("configMap", "name"), ("secret", "secretName"), ("downwardAPI", "")])
            {
                if (volume.Has(field))
                {
                    JsonElement source = volume.Get(field);
                    await AddAsync(pod, field, source, source.Text(nameField), source.Long("defaultMode", DefaultMode), files, podIps, cancellation);
                }
            }

            return files;
        }

        long mode = projected.Long("defaultMode", DefaultMode);
        foreach (JsonElement source in projected.Items("sources"))
        {
            foreach (string field in (string[])["configMap", "secret", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"])
            {
                if (source.Has(field))
                {
                    JsonElement inner = source.Get(field);
                    await AddAsync(pod, field, inner, inner.Text("name"), mode, files, podIps, cancellation);
                }
            }
        }

        return files;
    }

    public void Forget(string uid)
    {
        foreach (string key in _tokens.Keys.Where(k => k.StartsWith(uid + "/", StringComparison.Ordinal)))
        {
            _tokens.TryRemove(key, out _);
        }
    }

    private async Task AddAsync(
        Pod pod, string field, JsonElement source, string name, long mode, Dictionary<string, PayloadFile> files, IReadOnlyList<string> podIps,
        CancellationToken cancellation)
    {
        switch (field)
        {
            case "configMap":
            case "secret":
                await AddObjectAsync(pod, field == "secret", source, name, mode, files, cancellation);
                break;
            case "downwardAPI":
                foreach (JsonElement item in source.Items("items"))
                {
                    string text = item.Has("fieldRef")
                        ? Downward.Field(pod, item.Get("fieldRef").Text("fieldPath"), podIps, options)
                        : Downward.Resource(pod, item.Get("resourceFieldRef"), "", allocatable);
                    files[item.Text("path")] = new PayloadFile(Encoding.UTF8.GetBytes(text), (UnixFileMode)item.Long("mode", mode));
                }

                break;
            case "serviceAccountToken":
                string token = await TokenAsync(pod, source, cancellation);
                files[source.Text("path")] = new PayloadFile(Encoding.UTF8.GetBytes(token), (UnixFileMode)mode);
                break;
            default:
                throw new VolumeException($"projected source \"{field}\" is not supported by this kubelet");
        }
    }

    private async Task AddObjectAsync(
        Pod pod, bool secret, JsonElement source, string name, long mode, Dictionary<string, PayloadFile> files, CancellationToken cancellation)
    {
        KubeObject? found = await objects.GetAsync(secret ? Resources.Secrets : Resources.ConfigMaps, pod.Namespace, name, cancellation);
        bool optional = source.Bool("optional");
        string kind = secret ? "secret" : "configmap";
        if (found is null)
        {
            if (!optional)
            {
                throw new VolumeException($"{kind} \"{name}\" not found");
            }

            return;
        }

        Dictionary<string, byte[]> data = Data(found, secret);
        JsonElement[] items = [.. source.Items("items")];
        if (items.Length == 0)
        {
            foreach ((string key, byte[] value) in data)
            {
                files[key] = new PayloadFile(value, (UnixFileMode)mode);
            }

            return;
        }

        foreach (JsonElement item in items)
        {
            string key = item.Text("key");
            if (data.TryGetValue(key, out byte[]? value))
            {
                files[item.Text("path")] = new PayloadFile(value, (UnixFileMode)item.Long("mode", mode));
            }
            else if (!optional)
            {
                throw new VolumeException(secret ? "references non-existent secret key: " + key : "references non-existent config key: " + key);
            }
        }
    }

    private static Dictionary<string, byte[]> Data(KubeObject source, bool secret)
    {
        Dictionary<string, byte[]> data = new(StringComparer.Ordinal);
        foreach ((string key, string value) in source.Root.Get("data").TextMap2())
        {
            data[key] = secret ? Convert.FromBase64String(value) : Encoding.UTF8.GetBytes(value);
        }

        foreach ((string key, string value) in source.Root.Get("binaryData").TextMap2())
        {
            data[key] = Convert.FromBase64String(value);
        }

        return data;
    }

    // Kubernetes: pkg/kubelet/token/token_manager.go: a new token after 80 % of its life or 24 hours.
    private async Task<string> TokenAsync(Pod pod, JsonElement source, CancellationToken cancellation)
    {
        string audience = source.Text("audience");
        long seconds = source.Long("expirationSeconds", 3600);
        string key = $"{pod.Uid}/{audience}/{seconds}";
        DateTimeOffset now = time.GetUtcNow();
        if (_tokens.TryGetValue(key, out Token? held) && now < held.RefreshAt)
        {
            return held.Text;
        }

        JsonObject spec = new()
        {
            ["expirationSeconds"] = seconds,
            ["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["apiVersion"] = "v1", ["name"] = pod.Name, ["uid"] = pod.Uid },
        };
        spec["audiences"] = audience.Length > 0 ? new JsonArray(audience) : new JsonArray();
        string account = pod.Spec.Text("serviceAccountName") is { Length: > 0 } name ? name : "default";
        JsonObject request = new() { ["kind"] = "TokenRequest", ["apiVersion"] = "authentication.k8s.io/v1", ["metadata"] = new JsonObject(), ["spec"] = spec };
        try
        {
            JsonObject answer = await objects.TokenAsync(pod.Namespace, account, request, cancellation);
            string text = (string?)answer["status"]?["token"] ?? throw new VolumeException("failed to fetch token: the server's answer has no token");
            _tokens[key] = new Token(text, now + TimeSpan.FromSeconds(Math.Min(seconds * 0.8, 24 * 3600)));
            return text;
        }
        catch (StatusException e)
        {
            throw new VolumeException($"failed to fetch token: {e.Message}");
        }
    }

    private sealed record Token(string Text, DateTimeOffset RefreshAt);
}

using System.Globalization;
using System.Text;
using System.Text.Json;
using Kapell.Client;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>A container's environment. // Kubernetes: kubelet_pods.go makeEnvironmentVariables, pkg/kubelet/envvars</summary>
internal sealed class EnvironmentBuilder(IObjectSource objects, KubeletOptions options, Func<string, decimal> allocatable)
{
    private const string ConfigError = "CreateContainerConfigError";

    public async Task<IReadOnlyDictionary<string, string>> BuildAsync(
        Pod pod, ContainerSpec spec, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        Dictionary<string, string> result = new(StringComparer.Ordinal);
        foreach (JsonElement from in spec.Json.Items("envFrom"))
        {
            await AddAllAsync(pod, from, result, cancellation);
        }

        IReadOnlyDictionary<string, string> services = ServiceVariables.For(
            pod.Namespace, await objects.ServicesAsync(cancellation), pod.Spec.Bool("enableServiceLinks", absent: true));
        Dictionary<string, string> known = new(services, StringComparer.Ordinal);
        foreach (JsonElement variable in spec.Json.Items("env"))
        {
            string name = variable.Text("name");
            string? value = variable.Has("valueFrom")
                ? await ValueFromAsync(pod, spec, variable.Get("valueFrom"), podIps, cancellation)
                : Expansion.Expand(variable.Text("value"), known);
            if (value is not null)
            {
                result[name] = value;
                known[name] = value;
            }
        }

        foreach ((string name, string value) in services)
        {
            result.TryAdd(name, value);
        }

        return result;
    }

    private async Task<string?> ValueFromAsync(
        Pod pod, ContainerSpec spec, JsonElement from, IReadOnlyList<string> podIps, CancellationToken cancellation)
    {
        if (from.Has("fieldRef"))
        {
            return Downward.Field(pod, from.Get("fieldRef").Text("fieldPath"), podIps, options);
        }

        if (from.Has("resourceFieldRef"))
        {
            return Downward.Resource(pod, from.Get("resourceFieldRef"), spec.Name, allocatable);
        }

        bool secret = from.Has("secretKeyRef");
        JsonElement reference = from.Get(secret ? "secretKeyRef" : "configMapKeyRef");
        KubeObject? source = await objects.GetAsync(secret ? Resources.Secrets : Resources.ConfigMaps, pod.Namespace, reference.Text("name"), cancellation);
        bool optional = reference.Bool("optional");
        string kind = secret ? "secret" : "configmap";
        if (source is null)
        {
            return optional ? null : throw new StartException(ConfigError, $"{kind} \"{reference.Text("name")}\" not found");
        }

        string key = reference.Text("key");
        string? value = secret ? Decode(source.Root.Get("data"), key) : source.Root.Get("data").TextMapValue(key);
        return value is not null || optional
            ? value
            : throw new StartException(ConfigError, $"couldn't find key {key} in {(secret ? "Secret" : "ConfigMap")} {pod.Namespace}/{reference.Text("name")}");
    }

    private async Task AddAllAsync(Pod pod, JsonElement from, Dictionary<string, string> result, CancellationToken cancellation)
    {
        bool secret = from.Has("secretRef");
        JsonElement reference = from.Get(secret ? "secretRef" : "configMapRef");
        string name = reference.Text("name");
        KubeObject? source = await objects.GetAsync(secret ? Resources.Secrets : Resources.ConfigMaps, pod.Namespace, name, cancellation);
        if (source is null)
        {
            if (!reference.Bool("optional"))
            {
                throw new StartException(ConfigError, $"{(secret ? "secret" : "configmap")} \"{name}\" not found");
            }

            return;
        }

        JsonElement data = source.Root.Get("data");
        foreach (string key in data.TextMap2().Keys)
        {
            result[from.Text("prefix") + key] = (secret ? Decode(data, key) : data.TextMapValue(key)) ?? "";
        }
    }

    private static string? Decode(JsonElement data, string key)
    {
        JsonElement value = data.Get(key);
        return value.ValueKind == JsonValueKind.String && value.TryGetBytesFromBase64(out byte[]? bytes) ? Encoding.UTF8.GetString(bytes) : null;
    }
}

/// <summary>Service variables in the style of Docker links.</summary>
internal static class ServiceVariables
{
    public static IReadOnlyDictionary<string, string> For(string ns, IReadOnlyList<KubeObject> services, bool links)
    {
        SortedDictionary<string, string> result = new(StringComparer.Ordinal);
        foreach (KubeObject service in services)
        {
            bool master = service.Namespace == "default" && service.Name == "kubernetes";
            if (master || (links && service.Namespace == ns))
            {
                Add(service, result);
            }
        }

        return result;
    }

    private static void Add(KubeObject service, SortedDictionary<string, string> result)
    {
        string ip = service.Spec.Text("clusterIP");
        JsonElement[] ports = [.. service.Spec.Items("ports")];
        if (ip.Length == 0 || ip == "None" || ports.Length == 0)
        {
            return;
        }

        string prefix = Upper(service.Name);
        string host = ip.Contains(':', StringComparison.Ordinal) ? $"[{ip}]" : ip;
        result[prefix + "_SERVICE_HOST"] = ip;
        result[prefix + "_SERVICE_PORT"] = Number(ports[0]);
        for (int i = 0; i < ports.Length; i++)
        {
            string protocol = ports[i].Text("protocol") is { Length: > 0 } p ? p : "TCP";
            string number = Number(ports[i]);
            string url = $"{protocol.ToLowerInvariant()}://{host}:{number}";
            if (ports[i].Text("name") is { Length: > 0 } name)
            {
                result[$"{prefix}_SERVICE_PORT_{Upper(name)}"] = number;
            }

            if (i == 0)
            {
                result[prefix + "_PORT"] = url;
            }

            string port = $"{prefix}_PORT_{number}_{protocol}";
            result[port] = url;
            result[port + "_PROTO"] = protocol.ToLowerInvariant();
            result[port + "_PORT"] = number;
            result[port + "_ADDR"] = ip;
        }
    }

    private static string Number(JsonElement port) => port.Long("port").ToString(CultureInfo.InvariantCulture);

    private static string Upper(string name) => name.ToUpperInvariant().Replace('-', '_');
}

/// <summary>Reading of string maps beyond what the machinery offers.</summary>
internal static class DataMaps
{
    public static string? TextMapValue(this JsonElement map, string key) => map.Get(key) is { ValueKind: JsonValueKind.String } v ? v.GetString() : null;

    public static IReadOnlyDictionary<string, string> TextMap2(this JsonElement map)
    {
        SortedDictionary<string, string> result = new(StringComparer.Ordinal);
        if (map.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty p in map.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.String))
            {
                result[p.Name] = p.Value.GetString()!;
            }
        }

        return result;
    }
}

using System.Globalization;
using System.Text;
using System.Text.Json;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>The downward API: a pod's own fields and resources as text. // Kubernetes: pkg/fieldpath, kubelet podFieldSelectorRuntimeValue</summary>
internal static class Downward
{
    public static string Field(Pod pod, string path, IReadOnlyList<string> podIps, KubeletOptions options)
    {
        (string name, string? subscript) = Split(path);
        return (name, subscript) switch
        {
            ("metadata.name", null) => pod.Name,
            ("metadata.namespace", null) => pod.Namespace,
            ("metadata.uid", null) => pod.Uid,
            ("metadata.labels", null) => Map(pod.Object.Labels),
            ("metadata.annotations", null) => Map(pod.Object.Annotations),
            ("metadata.labels", string key) => pod.Object.Labels.GetValueOrDefault(key, ""),
            ("metadata.annotations", string key) => pod.Object.Annotations.GetValueOrDefault(key, ""),
            ("spec.nodeName", null) => pod.Spec.Text("nodeName") is { Length: > 0 } node ? node : options.NodeName,
            ("spec.serviceAccountName", null) => pod.Spec.Text("serviceAccountName"),
            ("status.hostIP", null) => options.NodeIps.Count > 0 ? options.NodeIps[0] : "",
            ("status.hostIPs", null) => string.Join(',', options.NodeIps),
            ("status.podIP", null) => podIps.Count > 0 ? podIps[0] : "",
            ("status.podIPs", null) => string.Join(',', podIps),
            _ => throw new StartException("CreateContainerConfigError", $"unsupported fieldPath: {path}"),
        };
    }

    public static string Resource(Pod pod, JsonElement selector, string container, Func<string, decimal> allocatable)
    {
        string name = selector.Text("containerName") is { Length: > 0 } given ? given : container;
        ContainerSpec spec = pod.Find(name) ?? throw new StartException("CreateContainerConfigError", $"container {name} not found");
        string resource = selector.Text("resource");
        int dot = resource.IndexOf('.', StringComparison.Ordinal);
        if (dot < 0)
        {
            throw new StartException("CreateContainerConfigError", $"unsupported container resource : {resource}");
        }

        string list = resource[..dot];
        string what = resource[(dot + 1)..];
        decimal amount = ResourceAmounts.Of(spec.Json.Get("resources", list), what);
        if (amount == 0 && list == "limits" && what is "cpu" or "memory" or "ephemeral-storage")
        {
            amount = allocatable(what);
        }

        decimal divisor = ResourceAmounts.Of(selector, "divisor");
        return Math.Ceiling(amount / (divisor == 0 ? 1 : divisor)).ToString("0", CultureInfo.InvariantCulture);
    }

    private static (string Name, string? Subscript) Split(string path)
    {
        int open = path.IndexOf("['", StringComparison.Ordinal);
        return open > 0 && path.EndsWith("']", StringComparison.Ordinal) ? (path[..open], path[(open + 2)..^2]) : (path, null);
    }

    // Kubernetes: fieldpath.FormatMap: key="value" lines by key, the value quoted as Go quotes.
    private static string Map(IReadOnlyDictionary<string, string> map)
    {
        StringBuilder text = new();
        foreach ((string key, string value) in map.OrderBy(p => p.Key, StringComparer.Ordinal))
        {
            text.Append(text.Length > 0 ? "\n" : "").Append(key).Append("=\"");
            foreach (char c in value)
            {
                text.Append(c switch
                {
                    '"' => "\\\"", '\\' => "\\\\", '\n' => "\\n", '\r' => "\\r", '\t' => "\\t",
                    < ' ' => $"\\x{(int)c:x2}",
                    _ => c.ToString(),
                });
            }

            text.Append('"');
        }

        return text.ToString();
    }
}

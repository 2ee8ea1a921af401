using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Nodes;

/// <summary>A taint as it matters for comparing: key and effect.</summary>
internal readonly record struct TaintKey(string Key, string Effect);

/// <summary>Which taints a node's conditions ask for, and what they do to pods (nodelifecycle, tainteviction). Pure.</summary>
internal static class NodeTaints
{
    private const string Prefix = "node.kubernetes.io/";
    private static readonly (string Condition, string Taint)[] Pressures =
    [
        ("MemoryPressure", "memory-pressure"), ("DiskPressure", "disk-pressure"), ("PIDPressure", "pid-pressure"), ("NetworkUnavailable", "network-unavailable"),
    ];

    private static readonly HashSet<TaintKey> Managed =
    [
        new(Prefix + "not-ready", "NoSchedule"), new(Prefix + "unreachable", "NoSchedule"), new(Prefix + "not-ready", "NoExecute"),
        new(Prefix + "unreachable", "NoExecute"), new(Prefix + "unschedulable", "NoSchedule"), new(Prefix + "memory-pressure", "NoSchedule"),
        new(Prefix + "disk-pressure", "NoSchedule"), new(Prefix + "pid-pressure", "NoSchedule"), new(Prefix + "network-unavailable", "NoSchedule"),
    ];

    /// <param name="mayEvict">False when every node is down: then it is our view that is broken, not the nodes, and no pod is driven away.</param>
    public static IReadOnlyList<TaintKey> Wanted(KubeObject node, bool mayEvict)
    {
        List<TaintKey> taints = [];
        string ready = PodView.Condition(node, "Ready").Text("status");
        string? trouble = ready switch { "True" => null, "Unknown" => "unreachable", _ => "not-ready" };
        if (trouble is not null)
        {
            taints.Add(new TaintKey(Prefix + trouble, "NoSchedule"));
            if (mayEvict && ready.Length > 0)
            {
                taints.Add(new TaintKey(Prefix + trouble, "NoExecute"));
            }
        }

        foreach ((string condition, string taint) in Pressures)
        {
            if (PodView.Condition(node, condition).Text("status") == "True")
            {
                taints.Add(new TaintKey(Prefix + taint, "NoSchedule"));
            }
        }

        if (node.Spec.Bool("unschedulable"))
        {
            taints.Add(new TaintKey(Prefix + "unschedulable", "NoSchedule"));
        }

        return taints;
    }

    /// <summary>The node's whole taint list with the managed ones made right, or null when it is right already.</summary>
    public static JsonArray? Corrected(KubeObject node, IReadOnlyList<TaintKey> wanted, DateTimeOffset now)
    {
        List<JsonElement> present = [.. node.Spec.Items("taints")];
        List<TaintKey> missing = [.. wanted.Where(w => !present.Exists(t => KeyOf(t) == w))];
        bool extra = present.Exists(t => Managed.Contains(KeyOf(t)) && !wanted.Contains(KeyOf(t)));
        if (missing.Count == 0 && !extra)
        {
            return null;
        }

        JsonArray taints = [.. present.Where(t => !Managed.Contains(KeyOf(t)) || wanted.Contains(KeyOf(t))).Select(t => t.Node())];
        foreach (TaintKey t in missing)
        {
            taints.Add((JsonNode)new JsonObject { ["key"] = t.Key, ["effect"] = t.Effect, ["timeAdded"] = Times.Text(now) });
        }

        return taints;
    }

    /// <summary>
    /// When a pod must leave a node: null never, else the moment. Every NoExecute taint must be tolerated; of the tolerations used the
    /// shortest time counts, from when the last of the taints came.
    /// </summary>
    public static DateTimeOffset? EvictionTime(KubeObject pod, KubeObject node, DateTimeOffset now)
    {
        JsonElement[] taints = [.. node.Spec.Items("taints").Where(t => t.Text("effect") == "NoExecute")];
        if (taints.Length == 0)
        {
            return null;
        }

        JsonElement[] tolerations = [.. pod.Spec.Items("tolerations")];
        DateTimeOffset? first = null;
        foreach (JsonElement taint in taints)
        {
            JsonElement[] used = [.. tolerations.Where(t => Tolerates(t, taint))];
            if (used.Length == 0)
            {
                return now;
            }

            DateTimeOffset since = Times.TryParse(taint.Text("timeAdded"), out DateTimeOffset added) ? added : now;
            foreach (JsonElement t in used.Where(t => t.Has("tolerationSeconds")))
            {
                DateTimeOffset at = since.AddSeconds(Math.Clamp(t.Long("tolerationSeconds"), 0, int.MaxValue));
                first = first is null || at < first ? at : first;
            }
        }

        return first;
    }

    // core/v1: Toleration.ToleratesTaint
    public static bool Tolerates(JsonElement toleration, JsonElement taint)
    {
        if (toleration.Text("effect") is { Length: > 0 } effect && effect != taint.Text("effect"))
        {
            return false;
        }

        if (toleration.Text("key") is { Length: > 0 } key && key != taint.Text("key"))
        {
            return false;
        }

        return toleration.Text("operator") switch
        {
            "" or "Equal" => toleration.Text("key").Length > 0 && toleration.Text("value") == taint.Text("value"),
            "Exists" => true,
            _ => false,
        };
    }

    private static TaintKey KeyOf(JsonElement taint) => new(taint.Text("key"), taint.Text("effect"));
}

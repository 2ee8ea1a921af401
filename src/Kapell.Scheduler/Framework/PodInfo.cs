using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Scheduler.Framework;

/// <summary>A port that a pod takes on its node.</summary>
public readonly record struct HostPort(string Address, string Protocol, int Port)
{
    /// <summary>The same port and protocol, on the same address or on all of them (upstream: HostPortInfo.CheckConflict).</summary>
    public bool ConflictsWith(HostPort other) =>
        Port == other.Port && Protocol == other.Protocol && (Address == other.Address || Address == "0.0.0.0" || other.Address == "0.0.0.0");
}

/// <summary>What the scheduler reads of a pod, read once. Immutable.</summary>
public sealed class PodInfo
{
    /// <summary>What a container without a request counts as in scoring, so that such pods spread too (upstream: util/pod_resources.go).</summary>
    private const long DefaultMilliCpu = 100;
    private const long DefaultMemory = 200L << 20;

    public PodInfo(KubeObject pod)
    {
        Object = pod;
        JsonElement spec = pod.Spec;
        NodeName = spec.Text("nodeName");
        SchedulerName = spec.Text("schedulerName");
        Priority = spec.Long("priority");
        IsGated = spec.Items("schedulingGates").Any();
        Tolerations = [.. spec.Items("tolerations").Select(Toleration.From)];
        NodeSelector = spec.TextMap("nodeSelector");
        JsonElement affinity = spec.Get("affinity", "nodeAffinity");
        JsonElement required = affinity.Get("requiredDuringSchedulingIgnoredDuringExecution");
        RequiredNodeTerms = required.ValueKind == JsonValueKind.Object ? [.. required.Items("nodeSelectorTerms").Select(NodeSelectorTerm.From)] : null;
        PreferredNodeTerms =
        [
            .. affinity.Items("preferredDuringSchedulingIgnoredDuringExecution")
                .Select(p => (p.Long("weight"), NodeSelectorTerm.From(p.Get("preference")))),
        ];
        Requests = Sum(spec, ComputeResources.From);
        NonZeroRequests = Sum(spec, WithDefaults);
        HostPorts =
        [
            .. spec.Items("containers").Concat(spec.Items("initContainers").Where(IsSidecar)).SelectMany(c => c.Items("ports")).Where(p => p.Long("hostPort") > 0)
                .Select(p => new HostPort(Or(p.Text("hostIP"), "0.0.0.0"), Or(p.Text("protocol"), "TCP"), (int)p.Long("hostPort"))),
        ];
    }

    public KubeObject Object { get; }

    public ObjectKey Key => Object.Key;

    public string Uid => Object.Uid;

    public string NodeName { get; }

    public string SchedulerName { get; }

    public long Priority { get; }

    /// <summary>Held back by scheduling gates (KEP-3521).</summary>
    public bool IsGated { get; }

    public bool IsTerminal => Object.Status.Text("phase") is "Succeeded" or "Failed";

    public IReadOnlyList<Toleration> Tolerations { get; }

    public IReadOnlyDictionary<string, string> NodeSelector { get; }

    /// <summary>Null when the pod has no required node affinity; an empty list matches no node.</summary>
    public IReadOnlyList<NodeSelectorTerm>? RequiredNodeTerms { get; }

    public IReadOnlyList<(long Weight, NodeSelectorTerm Term)> PreferredNodeTerms { get; }

    public ComputeResources Requests { get; }

    public ComputeResources NonZeroRequests { get; }

    public IReadOnlyList<HostPort> HostPorts { get; }

    /// <summary>
    /// Containers run together; an init container runs beside the sidecars started before it (KEP-753); overhead comes on top.
    /// </summary>
    private static ComputeResources Sum(JsonElement spec, Func<JsonElement, ComputeResources> read)
    {
        ComputeResources running = spec.Items("containers").Aggregate(ComputeResources.None, (sum, c) => sum.Plus(read(c.Get("resources", "requests"))));
        ComputeResources sidecars = ComputeResources.None;
        ComputeResources peak = ComputeResources.None;
        foreach (JsonElement container in spec.Items("initContainers"))
        {
            ComputeResources own = read(container.Get("resources", "requests"));
            if (IsSidecar(container))
            {
                sidecars = sidecars.Plus(own);
                own = ComputeResources.None;
            }

            peak = peak.Max(sidecars.Plus(own));
        }

        return running.Plus(sidecars).Max(peak).Plus(ComputeResources.From(spec.Get("overhead")));
    }

    private static bool IsSidecar(JsonElement container) => container.Text("restartPolicy") == "Always";

    private static ComputeResources WithDefaults(JsonElement requests)
    {
        ComputeResources own = ComputeResources.From(requests);
        return own with
        {
            MilliCpu = requests.Has("cpu") ? own.MilliCpu : DefaultMilliCpu, Memory = requests.Has("memory") ? own.Memory : DefaultMemory,
        };
    }

    private static string Or(string value, string otherwise) => value.Length > 0 ? value : otherwise;
}

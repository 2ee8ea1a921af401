using Kapell.Base;
using Kapell.Machinery;

namespace Kapell.Scheduler.Framework;

/// <summary>
/// A node and what the pods on it take, kept up to date by the cache as pods come and go. One owner; plugins only read. A node may be
/// known by its pods before it is known itself: then <see cref="Node"/> is null and nothing is placed on it.
/// </summary>
public sealed class NodeInfo(string name)
{
    private readonly Dictionary<string, PodInfo> _pods = new(StringComparer.Ordinal);
    private readonly List<HostPort> _ports = [];

    public string Name { get; } = name;

    public KubeObject? Node { get; private set; }

    public ComputeResources Allocatable { get; private set; } = ComputeResources.None;

    public IReadOnlyList<Taint> Taints { get; private set; } = [];

    public bool Unschedulable { get; private set; }

    public ComputeResources Requested { get; private set; } = ComputeResources.None;

    public ComputeResources NonZeroRequested { get; private set; } = ComputeResources.None;

    public IReadOnlyList<HostPort> UsedPorts => _ports;

    public IReadOnlyCollection<PodInfo> Pods => _pods.Values;

    public void SetNode(KubeObject? node)
    {
        Node = node;
        Allocatable = node is null ? ComputeResources.None : ComputeResources.From(node.Status.Get("allocatable"));
        Taints = node is null ? [] : [.. node.Spec.Items("taints").Select(Taint.From)];
        Unschedulable = node is not null && node.Spec.Bool("unschedulable");
    }

    public void Add(PodInfo pod)
    {
        Check.That(_pods.TryAdd(pod.Uid, pod));
        Requested = Requested.Plus(pod.Requests);
        NonZeroRequested = NonZeroRequested.Plus(pod.NonZeroRequests);
        _ports.AddRange(pod.HostPorts);
    }

    public void Remove(string uid)
    {
        Check.That(_pods.Remove(uid, out PodInfo? pod));
        Requested = Requested.Minus(pod.Requests);
        NonZeroRequested = NonZeroRequested.Minus(pod.NonZeroRequests);
        foreach (HostPort port in pod.HostPorts)
        {
            _ports.Remove(port);
        }
    }
}

using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodeUnschedulable;

/// <summary>Keeps pods off cordoned nodes, unless they tolerate the cordon's taint.</summary>
public sealed class NodeUnschedulablePlugin : IFilterPlugin
{
    private static readonly Taint Cordon = new("node.kubernetes.io/unschedulable", "", "NoSchedule");

    public string Name => "NodeUnschedulable";

    public FilterResult Filter(PodInfo pod, NodeInfo node) =>
        !node.Unschedulable || pod.Tolerations.Any(t => t.Tolerates(Cordon)) ? FilterResult.Fits : FilterResult.Never("node(s) were unschedulable");
}

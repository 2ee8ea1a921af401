using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodePorts;

/// <summary>The node's ports that the pod asks for must be free.</summary>
public sealed class NodePortsPlugin : IFilterPlugin
{
    public string Name => "NodePorts";

    public FilterResult Filter(PodInfo pod, NodeInfo node) =>
        pod.HostPorts.Any(want => node.UsedPorts.Any(want.ConflictsWith))
            ? FilterResult.Unschedulable("node(s) didn't have free ports for the requested pod ports")
            : FilterResult.Fits;
}

using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodeName;

/// <summary>A pod that names its node goes there and nowhere else.</summary>
public sealed class NodeNamePlugin : IFilterPlugin
{
    public string Name => "NodeName";

    public FilterResult Filter(PodInfo pod, NodeInfo node) =>
        pod.NodeName.Length == 0 || pod.NodeName == node.Name ? FilterResult.Fits : FilterResult.Never("node(s) didn't match the requested node name");
}

using Kapell.Machinery;
using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Cache;

/// <summary>
/// Nodes and the pods on them: as the watch tells, and beside that the pods this scheduler has just placed ("assumed") until the watch
/// confirms them, so that the next pod does not get the same room. One owner; not safe for concurrent use.
/// </summary>
public sealed class SchedulerCache
{
    private readonly Dictionary<string, NodeInfo> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (PodInfo Pod, bool Assumed)> _pods = new(StringComparer.Ordinal);

    public IReadOnlyCollection<NodeInfo> Nodes => _nodes.Values;

    public NodeInfo? Node(string name) => _nodes.GetValueOrDefault(name);

    public void SetNode(KubeObject node) => NodeFor(node.Name).SetNode(node);

    public void RemoveNode(string name)
    {
        if (_nodes.TryGetValue(name, out NodeInfo? info))
        {
            info.SetNode(null);
            Tidy(info);
        }
    }

    /// <summary>The watch says that the pod is on its node, and lives.</summary>
    public void SetPod(PodInfo pod)
    {
        RemovePod(pod.Uid);
        NodeFor(pod.NodeName).Add(pod);
        _pods[pod.Uid] = (pod, false);
    }

    public void RemovePod(string uid)
    {
        if (_pods.Remove(uid, out (PodInfo Pod, bool Assumed) known))
        {
            NodeInfo info = _nodes[known.Pod.NodeName];
            info.Remove(uid);
            Tidy(info);
        }
    }

    public bool Contains(string uid) => _pods.ContainsKey(uid);

    /// <summary>Counts the pod on the node before the API server has said so.</summary>
    /// <param name="placed">The pod with its nodeName filled in.</param>
    public void Assume(PodInfo placed)
    {
        NodeFor(placed.NodeName).Add(placed);
        _pods.Add(placed.Uid, (placed, true));
    }

    /// <summary>Takes an assumption back, unless the watch has confirmed it meanwhile.</summary>
    public void Forget(string uid)
    {
        if (_pods.TryGetValue(uid, out (PodInfo Pod, bool Assumed) known) && known.Assumed)
        {
            RemovePod(uid);
        }
    }

    private NodeInfo NodeFor(string name)
    {
        if (!_nodes.TryGetValue(name, out NodeInfo? info))
        {
            _nodes.Add(name, info = new NodeInfo(name));
        }

        return info;
    }

    private void Tidy(NodeInfo info)
    {
        if (info.Node is null && info.Pods.Count == 0)
        {
            _nodes.Remove(info.Name);
        }
    }
}

using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodeResources;

/// <summary>
/// The pod's requests must fit beside those of the pods already there. Scores by LeastAllocated: the emptier in CPU and memory, the
/// better (noderesources/fit.go, least_allocated.go).
/// </summary>
public sealed class NodeResourcesFitPlugin : IFilterPlugin, IScorePlugin
{
    public string Name => "NodeResourcesFit";

    public int Weight => 1;

    public FilterResult Filter(PodInfo pod, NodeInfo node)
    {
        ComputeResources want = pod.Requests;
        ComputeResources all = node.Allocatable;
        ComputeResources used = node.Requested;
        List<string> lacking = [];
        bool never = false;
        if (node.Pods.Count + 1 > all.Pods)
        {
            lacking.Add("Too many pods");
        }

        Demand("cpu", want.MilliCpu, used.MilliCpu, all.MilliCpu);
        Demand("memory", want.Memory, used.Memory, all.Memory);
        Demand("ephemeral-storage", want.EphemeralStorage, used.EphemeralStorage, all.EphemeralStorage);
        foreach ((string name, long amount) in want.Scalar)
        {
            Demand(name, amount, used.Scalar.GetValueOrDefault(name), all.Scalar.GetValueOrDefault(name));
        }

        return lacking.Count == 0 ? FilterResult.Fits : new FilterResult(lacking, never);

        void Demand(string name, long amount, long taken, long capacity)
        {
            if (amount > 0 && amount > capacity - taken)
            {
                lacking.Add("Insufficient " + name);
                never |= amount > capacity;
            }
        }
    }

    public long Score(PodInfo pod, NodeInfo node)
    {
        ComputeResources after = node.NonZeroRequested.Plus(pod.NonZeroRequests);
        return (Free(after.MilliCpu, node.Allocatable.MilliCpu) + Free(after.Memory, node.Allocatable.Memory)) / 2;
    }

    private static long Free(long requested, long capacity) =>
        capacity == 0 || requested > capacity ? 0 : (long)((Int128)(capacity - requested) * IScorePlugin.ScoreMax / capacity);
}

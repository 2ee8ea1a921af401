using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodeResources;

/// <summary>Prefers nodes whose CPU and memory would be used to the same degree (noderesources/balanced_allocation.go, two resources).</summary>
public sealed class NodeResourcesBalancedAllocationPlugin : IScorePlugin
{
    public string Name => "NodeResourcesBalancedAllocation";

    public int Weight => 1;

    public long Score(PodInfo pod, NodeInfo node)
    {
        ComputeResources after = node.Requested.Plus(pod.Requests);
        double cpu = Fraction(after.MilliCpu, node.Allocatable.MilliCpu);
        double memory = Fraction(after.Memory, node.Allocatable.Memory);

        // The standard deviation of two numbers is half their distance.
        return (long)((1 - (Math.Abs(cpu - memory) / 2)) * IScorePlugin.ScoreMax);
    }

    private static double Fraction(long requested, long capacity) => capacity == 0 ? 1 : Math.Min(1, (double)requested / capacity);
}

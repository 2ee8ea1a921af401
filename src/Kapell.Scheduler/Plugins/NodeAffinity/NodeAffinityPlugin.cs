using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.NodeAffinity;

/// <summary>nodeSelector and required node affinity must match; preferred terms add their weights.</summary>
public sealed class NodeAffinityPlugin : IFilterPlugin, IScorePlugin
{
    public string Name => "NodeAffinity";

    public int Weight => 2;

    public FilterResult Filter(PodInfo pod, NodeInfo node)
    {
        bool selected = pod.NodeSelector.All(want => node.Node!.Labels.TryGetValue(want.Key, out string? have) && have == want.Value);
        bool matches = pod.RequiredNodeTerms is null || pod.RequiredNodeTerms.Any(t => t.Matches(node.Node!));
        return selected && matches ? FilterResult.Fits : FilterResult.Never("node(s) didn't match Pod's node affinity/selector");
    }

    public long Score(PodInfo pod, NodeInfo node) => pod.PreferredNodeTerms.Where(p => p.Term.Matches(node.Node!)).Sum(p => p.Weight);

    public void Normalize(Span<long> scores) => Scores.ScaleToMax(scores, reverse: false);
}

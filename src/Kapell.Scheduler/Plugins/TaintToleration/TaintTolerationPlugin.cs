using Kapell.Scheduler.Framework;

namespace Kapell.Scheduler.Plugins.TaintToleration;

/// <summary>Taints with NoSchedule and NoExecute keep pods off that do not tolerate them; PreferNoSchedule only counts against the node.</summary>
public sealed class TaintTolerationPlugin : IFilterPlugin, IScorePlugin
{
    public string Name => "TaintToleration";

    public int Weight => 3;

    public FilterResult Filter(PodInfo pod, NodeInfo node)
    {
        foreach (Taint taint in node.Taints)
        {
            if (taint.Effect is "NoSchedule" or "NoExecute" && !pod.Tolerations.Any(t => t.Tolerates(taint)))
            {
                return FilterResult.Never($"node(s) had untolerated taint {taint}");
            }
        }

        return FilterResult.Fits;
    }

    public long Score(PodInfo pod, NodeInfo node) =>
        node.Taints.Count(taint => taint.Effect == "PreferNoSchedule"
            && !pod.Tolerations.Any(t => t.Effect is "" or "PreferNoSchedule" && t.Tolerates(taint)));

    public void Normalize(Span<long> scores) => Scores.ScaleToMax(scores, reverse: true);
}

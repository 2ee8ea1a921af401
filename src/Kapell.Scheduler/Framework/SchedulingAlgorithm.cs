using System.Text;
using Kapell.Base;

namespace Kapell.Scheduler.Framework;

/// <summary>Where a pod goes, or why it goes nowhere.</summary>
/// <param name="NodeName">Null when no node fits.</param>
/// <param name="Message">Upstream's FailedScheduling text when no node fits.</param>
public sealed record Placement(string? NodeName, string Message);

/// <summary>Filter, then score, then the best; equals are drawn by lot (schedule_one.go). Pure but for the lot, which is seeded.</summary>
public sealed class SchedulingAlgorithm(IReadOnlyList<IFilterPlugin> filters, IReadOnlyList<IScorePlugin> scores, Prng random)
{
    public Placement Schedule(PodInfo pod, IReadOnlyCollection<NodeInfo> nodes)
    {
        SortedDictionary<string, int> reasons = new(StringComparer.Ordinal);
        List<NodeInfo> fitting = [];
        int considered = 0;
        foreach (NodeInfo node in nodes.Where(n => n.Node is not null))
        {
            considered++;
            FilterResult result = Filter(pod, node);
            if (result.IsFit)
            {
                fitting.Add(node);
                continue;
            }

            foreach (string reason in result.Reasons!)
            {
                reasons[reason] = reasons.GetValueOrDefault(reason) + 1;
            }
        }

        if (fitting.Count == 0)
        {
            return new Placement(null, considered == 0 ? "no nodes available to schedule pods" : Explain(considered, reasons));
        }

        return new Placement((fitting.Count == 1 ? fitting[0] : Best(pod, fitting)).Name, "");
    }

    private FilterResult Filter(PodInfo pod, NodeInfo node)
    {
        foreach (IFilterPlugin filter in filters)
        {
            FilterResult result = filter.Filter(pod, node);
            if (!result.IsFit)
            {
                return result; // upstream, too, asks no further plugin about this node
            }
        }

        return FilterResult.Fits;
    }

    private NodeInfo Best(PodInfo pod, List<NodeInfo> fitting)
    {
        long[] totals = new long[fitting.Count];
        long[] own = new long[fitting.Count];
        foreach (IScorePlugin plugin in scores)
        {
            for (int i = 0; i < own.Length; i++)
            {
                own[i] = plugin.Score(pod, fitting[i]);
            }

            plugin.Normalize(own);
            for (int i = 0; i < own.Length; i++)
            {
                Check.That(own[i] is >= 0 and <= IScorePlugin.ScoreMax);
                totals[i] += own[i] * plugin.Weight;
            }
        }

        int best = 0;
        ulong equals = 1;
        for (int i = 1; i < totals.Length; i++)
        {
            if (totals[i] > totals[best])
            {
                best = i;
                equals = 1;
            }
            else if (totals[i] == totals[best] && random.NextBelow(++equals) == 0)
            {
                best = i;
            }
        }

        return fitting[best];
    }

    private static string Explain(int nodes, SortedDictionary<string, int> reasons)
    {
        StringBuilder text = new($"0/{nodes} nodes are available: ");
        text.AppendJoin(", ", reasons.Select(r => $"{r.Value} {r.Key}").Order(StringComparer.Ordinal));
        return text.Append('.').ToString();
    }
}

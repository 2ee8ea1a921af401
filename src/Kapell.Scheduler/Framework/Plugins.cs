namespace Kapell.Scheduler.Framework;

/// <summary>A filter's word on one node. No reasons means that the pod fits.</summary>
/// <param name="Unresolvable">Nothing that happens to the pods on the node can change it (upstream: UnschedulableAndUnresolvable).</param>
public readonly record struct FilterResult(IReadOnlyList<string>? Reasons, bool Unresolvable)
{
    public static readonly FilterResult Fits = new(null, false);

    public bool IsFit => Reasons is null;

    public static FilterResult Unschedulable(params IReadOnlyList<string> reasons) => new(reasons, false);

    public static FilterResult Never(params IReadOnlyList<string> reasons) => new(reasons, true);
}

/// <summary>Says whether a pod can run on a node. Pure: the same pod and node give the same answer.</summary>
public interface IFilterPlugin
{
    string Name { get; }

    FilterResult Filter(PodInfo pod, NodeInfo node);
}

/// <summary>Says how well a pod would sit on a node that fits.</summary>
public interface IScorePlugin
{
    const long ScoreMax = 100;

    string Name { get; }

    /// <summary>How much its word counts among the others' (upstream: default_plugins.go).</summary>
    int Weight { get; }

    /// <summary>Any non-negative number; <see cref="Normalize"/> brings them to 0..100.</summary>
    long Score(PodInfo pod, NodeInfo node);

    /// <summary>Brings the scores of all fitting nodes to 0..100, where 100 is best.</summary>
    void Normalize(Span<long> scores)
    {
    }
}

/// <summary>Upstream's usual normalization (helper/normalize_score.go).</summary>
public static class Scores
{
    public static void ScaleToMax(Span<long> scores, bool reverse)
    {
        long max = 0;
        foreach (long score in scores)
        {
            max = Math.Max(max, score);
        }

        for (int i = 0; i < scores.Length; i++)
        {
            long scaled = max == 0 ? 0 : scores[i] * IScorePlugin.ScoreMax / max;
            scores[i] = reverse ? IScorePlugin.ScoreMax - scaled : scaled;
        }
    }
}

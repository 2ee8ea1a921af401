using System.Text.Json;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>A replica set as rollout arithmetic sees it.</summary>
internal readonly record struct SetSize(string Name, long Replicas, long Available, DateTimeOffset Created, long MaxReplicasAnnotation);

/// <summary>How far a rolling update may go (deployment_util.go: ResolveFenceposts): both bounds resolved against the wanted number.</summary>
internal readonly record struct RolloutBounds(long Replicas, long MaxSurge, long MaxUnavailable)
{
    public long MaxTotal => Replicas + MaxSurge;

    public long MinAvailable => Replicas - MaxUnavailable;

    public static RolloutBounds Of(KubeObject deployment)
    {
        long replicas = deployment.Spec.Long("replicas", 1);
        JsonElement strategy = deployment.Spec.Get("strategy");
        if (strategy.Text("type") == "Recreate")
        {
            return new RolloutBounds(replicas, 0, 0);
        }

        long surge = IntOrPercent.Scale(strategy.Get("rollingUpdate").Get("maxSurge"), replicas, roundUp: true, absent: 1);
        long unavailable = IntOrPercent.Scale(strategy.Get("rollingUpdate").Get("maxUnavailable"), replicas, roundUp: false, absent: 0);
        if (surge == 0 && unavailable == 0)
        {
            // Validation never lets both be 0, but percentages can round to it: one must go down, or nothing ever moves.
            unavailable = 1;
        }

        return new RolloutBounds(replicas, surge, replicas == 0 ? 0 : Math.Min(unavailable, replicas));
    }
}

/// <summary>The arithmetic of rollouts and scaling: functions over numbers (pkg/controller/deployment: rolling.go, sync.go).</summary>
internal static class RolloutMath
{
    /// <summary>How many the new set may have now (NewRSNewReplicas).</summary>
    public static long NewReplicas(RolloutBounds bounds, bool recreate, long newReplicas, long allReplicas)
    {
        if (recreate)
        {
            return bounds.Replicas;
        }

        if (allReplicas >= bounds.MaxTotal)
        {
            return newReplicas;
        }

        return newReplicas + Math.Min(bounds.MaxTotal - allReplicas, bounds.Replicas - newReplicas);
    }

    /// <summary>
    /// What old sets go down to (reconcileOldReplicaSets): first their pods that do not work, which costs nobody anything, then as many
    /// working ones as availability allows. Only sets that change are in the answer.
    /// </summary>
    public static List<(string Name, long Replicas)> ScaleDownOld(RolloutBounds bounds, IReadOnlyList<SetSize> old, SetSize? fresh)
    {
        long total = old.Sum(s => s.Replicas) + (fresh?.Replicas ?? 0);
        long freshUnavailable = (fresh?.Replicas ?? 0) - (fresh?.Available ?? 0);
        long maxDown = total - bounds.MinAvailable - freshUnavailable;
        if (old.Sum(s => s.Replicas) == 0 || maxDown <= 0)
        {
            return [];
        }

        SetSize[] sets = [.. old.OrderBy(s => s.Created).ThenBy(s => s.Name, StringComparer.Ordinal)];
        long[] sizes = [.. sets.Select(s => s.Replicas)];
        long down = 0;
        for (int i = 0; i < sets.Length && down < maxDown; i++)
        {
            long unhealthy = Math.Max(0, sets[i].Replicas - sets[i].Available);
            long step = Math.Min(maxDown - down, unhealthy);
            sizes[i] -= step;
            down += step;
        }

        long available = sets.Sum(s => s.Available) + (fresh?.Available ?? 0);
        long left = available - bounds.MinAvailable;
        for (int i = 0; i < sets.Length && left > 0; i++)
        {
            long step = Math.Min(left, sizes[i]);
            sizes[i] -= step;
            left -= step;
        }

        return [.. sets.Select((s, i) => (s.Name, sizes[i])).Where((s, i) => s.Item2 != sets[i].Replicas)];
    }

    /// <summary>
    /// Spreads a change of size over all active sets of a half-done rollout in proportion to what they have (sync.go: scale); what
    /// rounding leaves goes to the largest.
    /// </summary>
    public static List<(string Name, long Replicas)> Proportional(RolloutBounds bounds, IReadOnlyList<SetSize> active, long statusReplicas)
    {
        long allowed = bounds.Replicas > 0 ? bounds.MaxTotal : 0;
        long toAdd = allowed - active.Sum(s => s.Replicas);
        SetSize[] sets = toAdd > 0
            ? [.. active.OrderByDescending(s => s.Replicas).ThenByDescending(s => s.Created)]
            : [.. active.OrderByDescending(s => s.Replicas).ThenBy(s => s.Created)];
        List<(string Name, long Replicas)> sizes = [];
        long added = 0;
        foreach (SetSize set in sets)
        {
            long share = toAdd == 0 ? 0 : Share(bounds, set, toAdd, added, statusReplicas);
            sizes.Add((set.Name, set.Replicas + share));
            added += share;
        }

        if (sizes.Count > 0 && toAdd != 0)
        {
            sizes[0] = (sizes[0].Name, Math.Max(0, sizes[0].Replicas + toAdd - added));
        }

        return sizes;
    }

    private static long Share(RolloutBounds bounds, SetSize set, long toAdd, long added, long statusReplicas)
    {
        if (set.Replicas == 0 || toAdd == added)
        {
            return 0;
        }

        long fraction = Fraction(bounds, set, statusReplicas);
        return toAdd > 0 ? Math.Min(fraction, toAdd - added) : Math.Max(fraction, toAdd - added);
    }

    private static long Fraction(RolloutBounds bounds, SetSize set, long statusReplicas)
    {
        if (bounds.Replicas == 0)
        {
            return -set.Replicas;
        }

        long before = set.MaxReplicasAnnotation > 0 ? set.MaxReplicasAnnotation : statusReplicas;
        return before == 0 ? 0 : (long)Math.Round(set.Replicas * (double)bounds.MaxTotal / before, MidpointRounding.AwayFromZero) - set.Replicas;
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.StatefulSets;

/// <summary>What one pass over a stateful set does: pods to make (by ordinal), to delete, to give their identity back, and claims to look after.</summary>
internal sealed record StatefulStep
{
    public List<int> Create { get; } = [];

    public List<KubeObject> Delete { get; } = [];

    public List<(KubeObject Pod, int Ordinal)> Repair { get; } = [];

    /// <summary>Ordinals of pending pods: a claim of theirs may be missing.</summary>
    public List<int> Pending { get; } = [];

    /// <summary>A pod among <see cref="Delete"/> goes because of its revision, not its number.</summary>
    public KubeObject? Updated { get; set; }
}

/// <summary>The order of a stateful set's steps (stateful_set_control.go). Pure.</summary>
internal static class StatefulPlan
{
    public static StatefulStep Next(KubeObject set, KubeObject update, IReadOnlyList<KubeObject> pods, DateTimeOffset now)
    {
        StatefulStep step = new();
        int start = StatefulPods.Start(set), count = (int)set.Spec.Long("replicas", 1);
        KubeObject?[] replicas = new KubeObject?[count];
        List<KubeObject> condemned = [];
        foreach (KubeObject pod in pods)
        {
            int ordinal = StatefulPods.Ordinal(set, pod.Name);
            if (ordinal >= start && ordinal < start + count)
            {
                replicas[ordinal - start] = pod;
            }
            else if (ordinal >= 0)
            {
                condemned.Add(pod);
            }
        }

        condemned.Sort((a, b) => StatefulPods.Ordinal(set, b.Name).CompareTo(StatefulPods.Ordinal(set, a.Name)));
        if (set.IsDeleting)
        {
            return step;
        }

        bool ordered = set.Spec.Text("podManagementPolicy") != "Parallel";
        bool blocked = Replicas(set, replicas, start, ordered, now, step);
        blocked = blocked || Condemned(set, condemned, ordered, now, step);
        if (!blocked && set.Spec.Get("updateStrategy").Text("type") != "OnDelete")
        {
            Update(set, replicas, update, now, step);
        }

        return step;
    }

    /// <summary>The revision a missing pod is made at: below the partition the current one, else the update.</summary>
    public static KubeObject RevisionFor(KubeObject set, KubeObject current, KubeObject update, int ordinal)
    {
        JsonElement strategy = set.Spec.Get("updateStrategy");
        if (strategy.Text("type") == "OnDelete")
        {
            return update;
        }

        long below = strategy.Has("rollingUpdate")
            ? strategy.Get("rollingUpdate").Long("partition")
            : set.Status.Long("currentReplicas");
        return ordinal < StatefulPods.Start(set) + below ? current : update;
    }

    public static JsonObject Status(
        KubeObject set, KubeObject current, KubeObject update, IReadOnlyList<KubeObject> pods, StatefulStep step, DateTimeOffset now)
    {
        long replicas = 0, ready = 0, available = 0, atCurrent = 0, updated = 0;
        foreach (KubeObject pod in pods.Where(p => p.Phase().Length > 0))
        {
            replicas++;
            ready += pod.IsRunningAndReady() ? 1 : 0;
            available += pod.IsRunningAndReady() && pod.IsAvailable(set.Spec.Long("minReadySeconds"), now) ? 1 : 0;
            if (!pod.IsDeleting)
            {
                atCurrent += StatefulPods.RevisionOf(pod) == current.Name ? 1 : 0;
                updated += StatefulPods.RevisionOf(pod) == update.Name ? 1 : 0;
            }
        }

        atCurrent -= step.Updated is not null && StatefulPods.RevisionOf(step.Updated) == current.Name ? 1 : 0;
        string currentName = current.Name;
        bool rolling = set.Spec.Get("updateStrategy").Text("type") != "OnDelete";
        if (rolling && updated == replicas && ready == replicas && replicas == set.Spec.Long("replicas", 1) && step.Updated is null)
        {
            (atCurrent, currentName) = (updated, update.Name);
        }

        JsonObject status = set.Status.Object();
        status.SetOrRemove("observedGeneration", set.Generation);
        status["replicas"] = replicas;
        status.SetOrRemove("readyReplicas", ready);
        status["availableReplicas"] = available;
        status.SetOrRemove("currentReplicas", atCurrent);
        status.SetOrRemove("updatedReplicas", updated);
        status["currentRevision"] = currentName;
        status["updateRevision"] = update.Name;
        return status;
    }

    // True when the pass must stop here: in order, each pod must be available before the next one is touched.
    private static bool Replicas(KubeObject set, KubeObject?[] replicas, int start, bool ordered, DateTimeOffset now, StatefulStep step)
    {
        for (int i = 0; i < replicas.Length; i++)
        {
            bool stop = Replica(set, replicas[i], start + i, ordered, now, step);
            if (stop && ordered)
            {
                return true;
            }
        }

        return false;
    }

    private static bool Replica(KubeObject set, KubeObject? pod, int ordinal, bool ordered, DateTimeOffset now, StatefulStep step)
    {
        if (pod is null)
        {
            step.Create.Add(ordinal);
            return true;
        }

        // Also a pod that ended well runs again: a stateful set never completes.
        if (pod.IsFinished())
        {
            if (!pod.IsDeleting)
            {
                step.Delete.Add(pod);
            }

            return true;
        }

        if (pod.Phase() == "Pending")
        {
            step.Pending.Add(ordinal);
        }

        if (ordered && (pod.IsDeleting || !IsAvailable(set, pod, now)))
        {
            return true;
        }

        if (!StatefulPods.Matches(set, pod, ordinal))
        {
            step.Repair.Add((pod, ordinal));
        }

        return false;
    }

    // In order we come here only when all that stay are available; of those that go, the lowest that is not may go though others wait for it.
    private static bool Condemned(KubeObject set, List<KubeObject> condemned, bool ordered, DateTimeOffset now, StatefulStep step)
    {
        KubeObject? firstUnavailable = condemned.FindLast(p => !IsAvailable(set, p, now));
        foreach (KubeObject pod in condemned)
        {
            if (pod.IsDeleting)
            {
                if (ordered)
                {
                    return true;
                }

                continue;
            }

            if (ordered && !IsAvailable(set, pod, now) && pod != firstUnavailable)
            {
                return true;
            }

            step.Delete.Add(pod);
            if (ordered)
            {
                return true;
            }
        }

        return false;
    }

    // From the highest ordinal down to the partition, as many at once as maxUnavailable (1) leaves.
    private static void Update(KubeObject set, KubeObject?[] replicas, KubeObject update, DateTimeOffset now, StatefulStep step)
    {
        JsonElement rolling = set.Spec.Get("updateStrategy", "rollingUpdate");
        long partition = rolling.Long("partition");
        long max = Math.Max(1, IntOrPercent.Scale(rolling.Get("maxUnavailable"), replicas.Length, roundUp: true, absent: 1));
        if (max == 1)
        {
            UpdateOne(set, replicas, update, partition, now, step);
            return;
        }

        long left = max - replicas.Count(p => p is null || !IsAvailable(set, p, now));
        for (int i = replicas.Length - 1; i >= partition && left > 0; i--)
        {
            if (replicas[i] is { IsDeleting: false } pod && StatefulPods.RevisionOf(pod) != update.Name && !step.Delete.Contains(pod))
            {
                step.Delete.Add(pod);
                step.Updated = pod;
                left--;
            }
        }
    }

    private static void UpdateOne(KubeObject set, KubeObject?[] replicas, KubeObject update, long partition, DateTimeOffset now, StatefulStep step)
    {
        for (int i = replicas.Length - 1; i >= partition; i--)
        {
            if (replicas[i] is not { } pod)
            {
                return;
            }

            if (StatefulPods.RevisionOf(pod) != update.Name && !pod.IsDeleting)
            {
                step.Delete.Add(pod);
                step.Updated = pod;
                return;
            }

            if (!IsAvailable(set, pod, now))
            {
                return;
            }
        }
    }

    private static bool IsAvailable(KubeObject set, KubeObject pod, DateTimeOffset now) =>
        pod.IsHealthy() && pod.IsAvailable(set.Spec.Long("minReadySeconds"), now);
}

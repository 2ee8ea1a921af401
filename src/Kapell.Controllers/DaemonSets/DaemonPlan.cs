using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.DaemonSets;

/// <summary>What one pass over a daemon set should do.</summary>
internal sealed record DaemonChanges(IReadOnlyList<string> CreateOn, IReadOnlyList<KubeObject> Delete)
{
    public bool IsEmpty => CreateOn.Count == 0 && Delete.Count == 0;
}

/// <summary>The arithmetic of daemon sets: nodes and pods in, changes and status out (daemon_controller.go, update.go). Pure.</summary>
internal static class DaemonPlan
{
    /// <param name="mayReplace">Whether a failed pod may be deleted now: its node's back-off is over.</param>
    public static DaemonChanges Changes(
        KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods, string hash, DateTimeOffset now, Func<KubeObject, bool> mayReplace)
    {
        ILookup<string, KubeObject> byNode = pods.ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
        bool surge = MaxSurge(set, nodes.Count) > 0;
        List<string> create = [];
        List<KubeObject> delete = [];
        foreach (KubeObject node in nodes)
        {
            (bool shouldRun, bool mayStay) = DaemonPods.Fits(set, node);
            KubeObject[] here = [.. byNode[node.Name]];
            if (!mayStay)
            {
                delete.AddRange(here.Where(p => !p.IsDeleting));
                continue;
            }

            delete.AddRange(here.Where(p => p.IsFinished() && !p.IsDeleting && (p.Phase() == "Succeeded" || mayReplace(p))));
            KubeObject[] running = [.. here.Where(p => p.IsActive()).OrderBy(p => p.NodeName().Length == 0).ThenBy(p => p.Created())];
            delete.AddRange(surge ? SurplusWithSurge(set, running, hash, now) : running.Skip(1));
            // While an old pod is still going its ports and names are taken: the new one waits for it to be gone.
            if (shouldRun && here.Length == 0)
            {
                create.Add(node.Name);
            }
        }

        // Bound for nodes that are gone (getUnscheduledPodsWithoutNode).
        HashSet<string> names = [.. nodes.Select(n => n.Name)];
        delete.AddRange(pods.Where(p => p.NodeName().Length == 0 && !p.IsDeleting && !names.Contains(DaemonPods.TargetNode(p))));
        return new DaemonChanges(create, delete);
    }

    /// <summary>
    /// What a rolling update may do now. Without surge: old pods that do not work are deleted at once, others as far as maxUnavailable
    /// allows. With surge: new pods beside old ones as far as maxSurge allows; an old one goes when its new one is available.
    /// </summary>
    public static DaemonChanges Roll(KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods, string hash, DateTimeOffset now)
    {
        if (set.Spec.Get("updateStrategy").Text("type") == "OnDelete")
        {
            return new DaemonChanges([], []);
        }

        KubeObject[] wanted = [.. nodes.Where(n => DaemonPods.Fits(set, n).ShouldRun)];
        ILookup<string, KubeObject> byNode = pods.Where(p => p.IsActive()).ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
        long surge = MaxSurge(set, wanted.Length);
        return surge > 0 ? RollWithSurge(set, wanted, byNode, hash, now, surge) : RollWithout(set, wanted, byNode, hash, now);
    }

    public static JsonObject Status(KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods, string hash, DateTimeOffset now)
    {
        ILookup<string, KubeObject> byNode = pods.ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
        long minReady = set.Spec.Long("minReadySeconds");
        long desired = 0, current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
        foreach (KubeObject node in nodes)
        {
            bool shouldRun = DaemonPods.Fits(set, node).ShouldRun;
            KubeObject? pod = byNode[node.Name].OrderBy(p => p.IsDeleting).ThenByDescending(p => p.IsReady()).ThenBy(p => p.Created()).FirstOrDefault();
            if (!shouldRun)
            {
                misplaced += pod is null ? 0 : 1;
                continue;
            }

            desired++;
            if (pod is null)
            {
                continue;
            }

            current++;
            ready += pod.IsReady() && !pod.IsDeleting ? 1 : 0;
            available += pod.IsAvailable(minReady, now) && !pod.IsDeleting ? 1 : 0;
            updated += pod.Labels.GetValueOrDefault(DaemonPods.HashLabel) == hash ? 1 : 0;
        }

        JsonObject status = set.Status.Object();
        status["desiredNumberScheduled"] = desired;
        status["currentNumberScheduled"] = current;
        status["numberMisscheduled"] = misplaced;
        status["numberReady"] = ready;
        status.SetOrRemove("numberAvailable", available);
        status.SetOrRemove("numberUnavailable", desired - available);
        status.SetOrRemove("updatedNumberScheduled", updated);
        status.SetOrRemove("observedGeneration", set.Generation);
        return status;
    }

    private static DaemonChanges RollWithout(
        KubeObject set, KubeObject[] wanted, ILookup<string, KubeObject> byNode, string hash, DateTimeOffset now)
    {
        long max = IntOrPercent.Scale(Rolling(set).Get("maxUnavailable"), wanted.Length, roundUp: true, absent: 1);
        long minReady = set.Spec.Long("minReadySeconds");
        long unavailable = 0;
        List<KubeObject> broken = [], candidates = [];
        foreach (KubeObject node in wanted)
        {
            (KubeObject? old, KubeObject? fresh, bool clear) = OldAndNew(byNode[node.Name], hash);
            KubeObject? only = clear && (old is null || fresh is null) ? old ?? fresh : null;
            bool available = only is not null && only.IsAvailable(minReady, now);
            unavailable += available ? 0 : 1;
            if (old is not null && only == old)
            {
                (available ? candidates : broken).Add(old);
            }
        }

        return new DaemonChanges([], [.. broken, .. candidates.Take((int)Math.Max(0, max - unavailable))]);
    }

    private static DaemonChanges RollWithSurge(
        KubeObject set, KubeObject[] wanted, ILookup<string, KubeObject> byNode, string hash, DateTimeOffset now, long max)
    {
        long minReady = set.Spec.Long("minReadySeconds");
        long surging = 0;
        List<string> atOnce = [], candidates = [];
        List<KubeObject> delete = [];
        foreach (KubeObject node in wanted)
        {
            (KubeObject? old, KubeObject? fresh, bool clear) = OldAndNew(byNode[node.Name], hash);
            if (!clear)
            {
                surging++;
            }
            else if (old is null)
            {
                continue;
            }
            else if (fresh is null)
            {
                (old.IsAvailable(minReady, now) ? candidates : atOnce).Add(node.Name);
            }
            else if (fresh.IsAvailable(minReady, now))
            {
                delete.Add(old);
            }
            else
            {
                surging++;
            }
        }

        return new DaemonChanges([.. atOnce, .. candidates.Take((int)Math.Max(0, max - surging))], delete);
    }

    // With surge a node may hold one old and one new pod; more of either kind are too many, and an old one that does not work is of no use.
    private static List<KubeObject> SurplusWithSurge(KubeObject set, KubeObject[] running, string hash, DateTimeOffset now)
    {
        long minReady = set.Spec.Long("minReadySeconds");
        KubeObject? fresh = Array.Find(running, p => p.Labels.GetValueOrDefault(DaemonPods.HashLabel) == hash);
        KubeObject? old = Array.Find(running, p => p.Labels.GetValueOrDefault(DaemonPods.HashLabel) != hash);
        List<KubeObject> delete = [.. running.Where(p => p != fresh && p != old)];
        if (fresh is not null && old is not null && (!old.IsAvailable(minReady, now) || fresh.IsAvailable(minReady, now)))
        {
            delete.Add(old);
        }

        return delete;
    }

    private static (KubeObject? Old, KubeObject? New, bool Clear) OldAndNew(IEnumerable<KubeObject> pods, string hash)
    {
        KubeObject[] fresh = [.. pods.Where(p => p.Labels.GetValueOrDefault(DaemonPods.HashLabel) == hash)];
        KubeObject[] old = [.. pods.Where(p => p.Labels.GetValueOrDefault(DaemonPods.HashLabel) != hash)];
        return fresh.Length > 1 || old.Length > 1 ? (null, null, false) : (old.FirstOrDefault(), fresh.FirstOrDefault(), true);
    }

    private static JsonElement Rolling(KubeObject set) => set.Spec.Get("updateStrategy", "rollingUpdate");

    private static long MaxSurge(KubeObject set, int wanted) =>
        set.Spec.Get("updateStrategy").Text("type") == "OnDelete" ? 0 : IntOrPercent.Scale(Rolling(set).Get("maxSurge"), wanted, roundUp: true, absent: 0);
}

using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.DaemonSets;

/// <summary>What one pass over a daemon set should do.</summary>
internal sealed record DaemonChanges(IReadOnlyList<string> CreateOn, IReadOnlyList<KubeObject> Delete);

/// <summary>The arithmetic of daemon sets: nodes and pods in, changes and status out (daemon_controller.go, update.go). Pure.</summary>
internal static class DaemonPlan
{
    public static DaemonChanges Changes(KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods)
    {
        ILookup<string, KubeObject> byNode = pods.ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
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

            delete.AddRange(here.Where(p => p.IsFinished() && !p.IsDeleting));
            KubeObject[] running = [.. here.Where(p => p.IsActive()).OrderBy(p => p.NodeName().Length == 0).ThenBy(p => p.Created())];
            delete.AddRange(running.Skip(1));
            // While an old pod is still going its ports and names are taken: the new one waits for it to be gone.
            if (shouldRun && running.Length == 0 && !here.Any(p => p.IsDeleting) && !here.Any(p => p.IsFinished()))
            {
                create.Add(node.Name);
            }
        }

        // Bound for nodes that are gone (getUnscheduledPodsWithoutNode).
        HashSet<string> names = [.. nodes.Select(n => n.Name)];
        delete.AddRange(pods.Where(p => p.NodeName().Length == 0 && !p.IsDeleting && !names.Contains(DaemonPods.TargetNode(p))));
        return new DaemonChanges(create, delete);
    }

    /// <summary>Old pods that a rolling update may delete now: those that do not work at once, others as far as maxUnavailable allows.</summary>
    public static IReadOnlyList<KubeObject> Roll(KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods, string hash, DateTimeOffset now)
    {
        if (set.Spec.Get("updateStrategy").Text("type") == "OnDelete")
        {
            return [];
        }

        KubeObject[] wanted = [.. nodes.Where(n => DaemonPods.Fits(set, n).ShouldRun)];
        long max = Math.Max(1, IntOrPercent.Scale(set.Spec.Get("updateStrategy", "rollingUpdate").Get("maxUnavailable"), wanted.Length, roundUp: true, absent: 1));
        long minReady = set.Spec.Long("minReadySeconds");
        ILookup<string, KubeObject> byNode = pods.ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
        long unavailable = 0;
        List<KubeObject> broken = [], candidates = [];
        foreach (KubeObject node in wanted)
        {
            KubeObject? pod = byNode[node.Name].FirstOrDefault(p => p.IsActive());
            bool available = pod is not null && pod.IsAvailable(minReady, now);
            unavailable += available ? 0 : 1;
            if (pod is not null && pod.Labels.GetValueOrDefault(DaemonPods.HashLabel) != hash)
            {
                (available ? candidates : broken).Add(pod);
            }
        }

        return [.. broken, .. candidates.Take((int)Math.Max(0, max - unavailable))];
    }

    public static JsonObject Status(KubeObject set, IReadOnlyList<KubeObject> nodes, IReadOnlyList<KubeObject> pods, string hash, DateTimeOffset now)
    {
        ILookup<string, KubeObject> byNode = pods.ToLookup(DaemonPods.TargetNode, StringComparer.Ordinal);
        long minReady = set.Spec.Long("minReadySeconds");
        long desired = 0, current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
        foreach (KubeObject node in nodes)
        {
            bool shouldRun = DaemonPods.Fits(set, node).ShouldRun;
            KubeObject? pod = byNode[node.Name].OrderBy(p => p.IsDeleting).ThenBy(p => p.Created()).FirstOrDefault();
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
}

using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Deployments;

/// <summary>The status of a deployment and its progress (sync.go calculateStatus, progress.go). Pure: sets in, status out.</summary>
internal static class DeploymentStatus
{
    public const string NewSetAvailable = "NewReplicaSetAvailable";
    public const string TimedOut = "ProgressDeadlineExceeded";
    private const long NoDeadline = int.MaxValue;

    public static bool HasDeadline(KubeObject d) => d.Spec.Long("progressDeadlineSeconds", NoDeadline) != NoDeadline;

    /// <summary>Numbers and the Available condition.</summary>
    public static JsonObject Calculate(KubeObject d, IReadOnlyList<KubeObject> all, KubeObject? fresh, DateTimeOffset now)
    {
        RolloutBounds bounds = RolloutBounds.Of(d);
        long available = all.Sum(s => s.Status.Long("availableReplicas"));
        JsonObject status = d.Status.Object();
        status.SetOrRemove("observedGeneration", d.Generation);
        status.SetOrRemove("replicas", all.Sum(s => s.Status.Long("replicas")));
        status.SetOrRemove("updatedReplicas", fresh?.Status.Long("replicas") ?? 0);
        status.SetOrRemove("readyReplicas", all.Sum(s => s.Status.Long("readyReplicas")));
        status.SetOrRemove("availableReplicas", available);
        status.SetOrRemove("unavailableReplicas", Math.Max(0, all.Sum(s => s.Spec.Long("replicas", 1)) - available));
        if (available >= bounds.MinAvailable)
        {
            Conditions.Set(status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now, true);
        }
        else
        {
            Conditions.Set(status, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now, true);
        }

        return status;
    }

    /// <summary>Numbers, Available, Progressing and ReplicaFailure (syncRolloutStatus).</summary>
    public static JsonObject WithProgress(KubeObject d, IReadOnlyList<KubeObject> all, KubeObject? fresh, DateTimeOffset now)
    {
        JsonObject status = Calculate(d, all, fresh, now);
        JsonObject? progressing = Conditions.Find(status, "Progressing");
        if (!HasDeadline(d))
        {
            Conditions.Remove(status, "Progressing");
        }
        else if (!(Num(status, "replicas") == Num(status, "updatedReplicas") && progressing is not null
            && Conditions.Text(progressing, "reason") == NewSetAvailable))
        {
            string subject = fresh is null ? $"Deployment \"{d.Name}\"" : $"ReplicaSet \"{fresh.Name}\"";
            if (IsComplete(d, status))
            {
                Conditions.Set(status, "Progressing", "True", NewSetAvailable, $"{subject} has successfully progressed.", now, true);
            }
            else if (IsProgressing(d, status))
            {
                Conditions.Replace(status, "Progressing", "True", "ReplicaSetUpdated", $"{subject} is progressing.", now, true);
            }
            else if (HasTimedOut(d, status, now))
            {
                Conditions.Set(status, "Progressing", "False", TimedOut, $"{subject} has timed out progressing.", now, true);
            }
        }

        SetFailure(status, all, fresh, now);
        return status;
    }

    public static bool IsComplete(KubeObject d, JsonObject status)
    {
        long wanted = d.Spec.Long("replicas", 1);
        return Num(status, "updatedReplicas") == wanted && Num(status, "replicas") == wanted && Num(status, "availableReplicas") == wanted
            && Num(status, "observedGeneration") >= d.Generation;
    }

    /// <summary>When to look again at a rollout that stands still (requeueStuckDeployment), or null.</summary>
    public static TimeSpan? Recheck(KubeObject d, JsonObject status, DateTimeOffset now)
    {
        JsonObject? progressing = Conditions.Find(status, "Progressing");
        if (!HasDeadline(d) || progressing is null || IsComplete(d, status) || Conditions.Text(progressing, "reason") == TimedOut
            || !Times.TryParse(Conditions.Text(progressing, "lastUpdateTime"), out DateTimeOffset since))
        {
            return null;
        }

        TimeSpan left = since.AddSeconds(d.Spec.Long("progressDeadlineSeconds", NoDeadline)) - now;
        return (left > TimeSpan.Zero ? left : TimeSpan.Zero) + TimeSpan.FromSeconds(1);
    }

    private static bool IsProgressing(KubeObject d, JsonObject status)
    {
        long oldOld = d.Status.Long("replicas") - d.Status.Long("updatedReplicas");
        long newOld = Num(status, "replicas") - Num(status, "updatedReplicas");
        return Num(status, "updatedReplicas") > d.Status.Long("updatedReplicas") || newOld < oldOld
            || Num(status, "readyReplicas") > d.Status.Long("readyReplicas")
            || Num(status, "availableReplicas") > d.Status.Long("availableReplicas");
    }

    private static bool HasTimedOut(KubeObject d, JsonObject status, DateTimeOffset now)
    {
        JsonObject? progressing = Conditions.Find(status, "Progressing");
        if (progressing is null || Conditions.Text(progressing, "reason") == NewSetAvailable)
        {
            return false;
        }

        return Conditions.Text(progressing, "reason") == TimedOut
            || (Times.TryParse(Conditions.Text(progressing, "lastUpdateTime"), out DateTimeOffset since)
                && since.AddSeconds(d.Spec.Long("progressDeadlineSeconds", NoDeadline)) < now);
    }

    private static void SetFailure(JsonObject status, IReadOnlyList<KubeObject> all, KubeObject? fresh, DateTimeOffset now)
    {
        IEnumerable<KubeObject> order = fresh is null ? all : [fresh, .. all];
        System.Text.Json.JsonElement failure = order.Select(s => PodView.Condition(s, "ReplicaFailure"))
            .FirstOrDefault(c => c.ValueKind == System.Text.Json.JsonValueKind.Object);
        if (failure.ValueKind == System.Text.Json.JsonValueKind.Object)
        {
            Conditions.Set(status, "ReplicaFailure", failure.Text("status"), failure.Text("reason"), failure.Text("message"), now, true);
        }
        else
        {
            Conditions.Remove(status, "ReplicaFailure");
        }
    }

    private static long Num(JsonObject status, string field) => status[field] is JsonValue v && v.TryGetValue(out long n) ? n : 0;
}

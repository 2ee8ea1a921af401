using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>All that one pass over a job found out and did.</summary>
internal sealed record JobProgress(KubeObject Job, JobCount Count, IReadOnlyList<KubeObject> Active, JobEnd? End, bool PodsRun);

/// <summary>Writes a job's status and takes tracking finalizers off, in the order that never counts a pod twice or not at all.</summary>
internal sealed class JobStatusWriter(KubeClient client, TimeProvider time)
{
    private const int UncountedMax = 500;

    /// <summary>True when this call wrote the final condition.</summary>
    public async Task<bool> WriteAsync(JobProgress p, IReadOnlyList<KubeObject> pods, CancellationToken cancellation)
    {
        // 1. Uids of newly finished pods stand in the status before anything else happens to them.
        KubeObject job = await UpdateAsync(p.Job, Status(p, final: false), cancellation);
        // 2. Their finalizers come off, and those of pods whose failure does not count.
        HashSet<string> listed = [.. Uncounted(job, "succeeded"), .. Uncounted(job, "failed")];
        HashSet<string> ignored = [.. p.Count.Ignored.Where(pod => !IsHeld(p, pod)).Select(pod => pod.Uid)];
        await FreeAsync(pods.Where(pod => pod.HasTracking()
            && (listed.Contains(pod.Uid) || ignored.Contains(pod.Uid) || (pod.IsFinished() && p.End is not null && !IsNew(p, pod)))), cancellation);
        // 3. What was listed moves into the numbers.
        bool final = p.End is not null && !p.PodsRun;
        JsonObject status = Status(p with { Job = job }, final);
        if (listed.Count > 0)
        {
            Fold(status, job);
        }

        await UpdateAsync(job, status, cancellation);
        return final;
    }

    public async Task FreeAsync(IEnumerable<KubeObject> pods, CancellationToken cancellation)
    {
        foreach (KubeObject pod in pods)
        {
            JsonObject patch = new()
            {
                ["metadata"] = new JsonObject
                {
                    ["uid"] = pod.Uid, ["$deleteFromPrimitiveList/finalizers"] = new JsonArray(JobView.TrackingFinalizer),
                },
            };
            try
            {
                await client.PatchAsync(Resources.Pods, pod.Key, PatchKind.Strategic, patch, cancellation);
            }
            catch (StatusException e) when (e.IsNotFound || e.IsConflict)
            {
                // Gone, which needs no finalizer.
            }
        }
    }

    // Once the job is over nobody follows and nothing is held.
    private static bool IsHeld(JobProgress p, KubeObject pod) => p.End is null && p.Count.Held.TryGetValue(pod.CompletionIndex(), out KubeObject? held) && held.Uid == pod.Uid;

    private static bool IsNew(JobProgress p, KubeObject pod) =>
        p.Count.NewSucceeded.Any(n => n.Uid == pod.Uid) || p.Count.NewFailed.Any(n => n.Uid == pod.Uid);

    private JsonObject Status(JobProgress p, bool final)
    {
        DateTimeOffset now = time.GetUtcNow();
        JsonObject status = p.Job.Status.Object();
        bool suspended = p.Job.Spec.Bool("suspend");
        if (!suspended)
        {
            status["startTime"] ??= Times.Text(now);
        }

        status.SetOrRemove("active", p.Active.Count);
        status["ready"] = p.End is null ? p.Count.Ready : 0;
        status["terminating"] = p.Count.Terminating;
        JsonObject uncounted = status.Child("uncountedTerminatedPods");
        Add(uncounted, "succeeded", p.Count.NewSucceeded);
        Add(uncounted, "failed", [.. p.Count.NewFailed.Where(pod => !IsHeld(p, pod))]);
        if (p.Job.IsIndexed())
        {
            status.SetOrRemove("completedIndexes", IndexRanges.Text(p.Count.CompletedIndexes));
            status.SetOrRemove("succeeded", p.Count.CompletedIndexes.Count);
        }

        if (p.Count.FailedIndexes is { } failed)
        {
            status["failedIndexes"] = IndexRanges.Text(failed);
        }

        SetSuspended(status, suspended, now);
        if (p.End is { } end)
        {
            Conditions.Set(status, end.Failed ? "FailureTarget" : "SuccessCriteriaMet", "True", end.Reason, end.Message, now, withUpdateTime: false);
            Probe(status, end.Failed ? "FailureTarget" : "SuccessCriteriaMet", now);
            if (final)
            {
                Conditions.Set(status, end.Failed ? "Failed" : "Complete", "True", end.Reason, end.Message, now, withUpdateTime: false);
                Probe(status, end.Failed ? "Failed" : "Complete", now);
                if (!end.Failed)
                {
                    status["completionTime"] = Times.Text(now);
                }
            }
        }

        return status;
    }

    private static void SetSuspended(JsonObject status, bool suspended, DateTimeOffset now)
    {
        JsonObject? old = Conditions.Find(status, "Suspended");
        if (suspended && (old is null || Conditions.Text(old, "status") != "True"))
        {
            Conditions.Set(status, "Suspended", "True", "JobSuspended", "Job suspended", now, withUpdateTime: false);
            Probe(status, "Suspended", now);
        }
        else if (!suspended && old is not null && Conditions.Text(old, "status") == "True")
        {
            Conditions.Set(status, "Suspended", "False", "JobResumed", "Job resumed", now, withUpdateTime: false);
            status["startTime"] = Times.Text(now);
        }
    }

    private static void Probe(JsonObject status, string type, DateTimeOffset now)
    {
        JsonObject? condition = Conditions.Find(status, type);
        if (condition is not null)
        {
            condition["lastProbeTime"] ??= Times.Text(now);
        }
    }

    private static void Add(JsonObject uncounted, string field, IReadOnlyList<KubeObject> pods)
    {
        JsonArray uids = uncounted[field] as JsonArray ?? [];
        foreach (KubeObject pod in pods.Where(p => !uids.Any(u => u?.GetValue<string>() == p.Uid)).Take(Math.Max(0, UncountedMax - uids.Count)).ToArray())
        {
            uids.Add((JsonNode)pod.Uid);
        }

        if (uids.Count > 0 && uids.Parent is null)
        {
            uncounted[field] = uids;
        }
    }

    private static void Fold(JsonObject status, KubeObject job)
    {
        if (!job.IsIndexed())
        {
            status.SetOrRemove("succeeded", job.Status.Long("succeeded") + Uncounted(job, "succeeded").Count());
        }

        status.SetOrRemove("failed", job.Status.Long("failed") + Uncounted(job, "failed").Count());
        status["uncountedTerminatedPods"] = new JsonObject();
    }

    private static IEnumerable<string> Uncounted(KubeObject job, string field) =>
        job.Status.Get("uncountedTerminatedPods").Items(field).Select(u => u.GetString() ?? "");

    private async Task<KubeObject> UpdateAsync(KubeObject job, JsonObject status, CancellationToken cancellation)
    {
        if (JsonNode.DeepEquals(status, job.Status.Object()))
        {
            return job;
        }

        JsonObject json = job.ToNode();
        json["status"] = status;
        return await client.UpdateStatusAsync(Resources.Jobs, job.Key, json, cancellation);
    }
}

using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>How a job ends: condition type, reason and message.</summary>
internal sealed record JobEnd(bool Failed, string Reason, string Message);

/// <summary>What a job has come to, counted from its status and its pods.</summary>
internal sealed record JobCount(
    IReadOnlyList<KubeObject> Active, IReadOnlyList<KubeObject> NewSucceeded, IReadOnlyList<KubeObject> NewFailed,
    long Succeeded, long Failed, long Ready, long Terminating, SortedSet<int> CompletedIndexes);

/// <summary>The arithmetic of jobs: functions over data (pkg/controller/job/job_controller.go).</summary>
internal static class JobPlan
{
    private static readonly TimeSpan BackoffFirst = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan BackoffMax = TimeSpan.FromMinutes(10);

    /// <summary>
    /// Counts each pod once for all time: what is in status.succeeded and status.failed has been counted and carries no finalizer any
    /// more; what is in uncountedTerminatedPods is counted here; a finished pod that still carries it is new.
    /// </summary>
    public static JobCount Count(KubeObject job, IReadOnlyList<KubeObject> pods)
    {
        System.Text.Json.JsonElement uncounted = job.Status.Get("uncountedTerminatedPods");
        HashSet<string> oldSucceeded = [.. uncounted.Items("succeeded").Select(u => u.GetString() ?? "")];
        HashSet<string> oldFailed = [.. uncounted.Items("failed").Select(u => u.GetString() ?? "")];
        long completions = job.Completions() ?? 0;
        SortedSet<int> indexes = job.IsIndexed() ? IndexRanges.Parse(job.Status.Text("completedIndexes"), completions) : [];
        List<KubeObject> active = [], newSucceeded = [], newFailed = [];
        foreach (KubeObject pod in pods)
        {
            if (pod.IsActive())
            {
                active.Add(pod);
            }
            else if (pod.HasTracking() && !oldSucceeded.Contains(pod.Uid) && !oldFailed.Contains(pod.Uid))
            {
                if (pod.Phase() == "Succeeded" && (!job.IsIndexed() || InRange(pod, completions)))
                {
                    newSucceeded.Add(pod);
                }
                else if (pod.Phase() == "Failed")
                {
                    newFailed.Add(pod);
                }
            }

            if (job.IsIndexed() && pod.Phase() == "Succeeded" && pod.HasTracking() && InRange(pod, completions))
            {
                indexes.Add(pod.CompletionIndex());
            }
        }

        long succeeded = job.IsIndexed() ? indexes.Count : job.Status.Long("succeeded") + oldSucceeded.Count + newSucceeded.Count;
        return new JobCount(active, newSucceeded, newFailed, succeeded, job.Status.Long("failed") + oldFailed.Count + newFailed.Count,
            active.Count(p => p.IsReady()), pods.Count(p => p.IsDeleting && !p.IsFinished()), indexes);
    }

    /// <summary>Whether the job is over, or null.</summary>
    public static JobEnd? End(KubeObject job, JobCount count, DateTimeOffset? started, DateTimeOffset now)
    {
        long limit = job.Spec.Long("backoffLimit", 6);
        if (count.Failed > limit || (job.Spec.Get("template", "spec").Text("restartPolicy") == "OnFailure" && Restarts(count.Active) >= Math.Max(1, limit) && Restarts(count.Active) > 0))
        {
            return new JobEnd(true, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }

        if (job.Spec.Has("activeDeadlineSeconds") && started is { } start && start.AddSeconds(job.Spec.Long("activeDeadlineSeconds")) <= now
            && !job.Spec.Bool("suspend"))
        {
            return new JobEnd(true, "DeadlineExceeded", "Job was active longer than specified deadline");
        }

        // Without completions, one success and nobody left working is enough (a work queue).
        bool complete = job.Completions() is { } completions ? count.Succeeded >= completions : count.Succeeded > 0 && count.Active.Count == 0;
        return complete ? new JobEnd(false, "CompletionsReached", "Reached expected number of succeeded pods") : null;
    }

    /// <summary>How many pods should be working now.</summary>
    public static long WantedActive(KubeObject job, JobCount count)
    {
        if (job.Spec.Bool("suspend"))
        {
            return 0;
        }

        if (job.Completions() is not { } completions)
        {
            // Once one has succeeded no new worker is started: the queue is taken to be empty.
            return count.Succeeded > 0 ? Math.Min(count.Active.Count, job.Parallelism()) : job.Parallelism();
        }

        return Math.Max(0, Math.Min(completions - count.Succeeded, job.Parallelism()));
    }

    /// <summary>The lowest indexes without a success and without a pod at work.</summary>
    public static IReadOnlyList<int> NextIndexes(KubeObject job, JobCount count, IEnumerable<KubeObject> pods, int number)
    {
        HashSet<int> busy = [.. count.CompletedIndexes, .. pods.Where(p => !p.IsFinished()).Select(p => p.CompletionIndex())];
        List<int> next = [];
        for (int i = 0; i < (job.Completions() ?? 0) && next.Count < number; i++)
        {
            if (!busy.Contains(i))
            {
                next.Add(i);
            }
        }

        return next;
    }

    /// <summary>How long to wait before the next pod after failures: 10 s, doubled with each failure since the last success, at most 10 min.</summary>
    public static TimeSpan Backoff(IEnumerable<KubeObject> pods, DateTimeOffset now)
    {
        KubeObject[] finished = [.. pods.Where(p => p.IsFinished()).OrderByDescending(p => p.FinishedAt())];
        int failures = finished.TakeWhile(p => p.Phase() == "Failed").Count();
        if (failures == 0)
        {
            return TimeSpan.Zero;
        }

        TimeSpan wait = failures > 10 ? BackoffMax : BackoffFirst * Math.Pow(2, failures - 1);
        TimeSpan left = finished[0].FinishedAt() + (wait < BackoffMax ? wait : BackoffMax) - now;
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    private static bool InRange(KubeObject pod, long completions) => pod.CompletionIndex() >= 0 && pod.CompletionIndex() < completions;

    private static long Restarts(IEnumerable<KubeObject> pods) => pods.Sum(p =>
        p.Status.Items("initContainerStatuses").Concat(p.Status.Items("containerStatuses")).Sum(c => c.Long("restartCount")));
}

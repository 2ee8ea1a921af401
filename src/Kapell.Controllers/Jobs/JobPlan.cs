using System.Text.Json;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>How a job ends: condition type, reason and message.</summary>
internal sealed record JobEnd(bool Failed, string Reason, string Message);

/// <summary>The arithmetic of jobs: functions over data (pkg/controller/job/job_controller.go, success_policy.go).</summary>
internal static class JobPlan
{
    private static readonly TimeSpan BackoffFirst = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan BackoffMax = TimeSpan.FromMinutes(10);

    /// <summary>Whether the job is over, or null.</summary>
    public static JobEnd? End(KubeObject job, JobCount count, IReadOnlyList<KubeObject> pods, DateTimeOffset? started, DateTimeOffset now)
    {
        if (FailJob(job, pods) is { } why)
        {
            return new JobEnd(true, "PodFailurePolicy", why);
        }

        long limit = job.Spec.Long("backoffLimit", 6);
        if (count.Failed > limit || RestartedTooOften(job, count, limit))
        {
            return new JobEnd(true, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }

        if (job.Spec.Has("activeDeadlineSeconds") && started is { } start && start.AddSeconds(job.Spec.Long("activeDeadlineSeconds")) <= now
            && !job.Spec.Bool("suspend"))
        {
            return new JobEnd(true, "DeadlineExceeded", "Job was active longer than specified deadline");
        }

        if (FailedByIndexes(job, count) is { } failed)
        {
            return failed;
        }

        if (SuccessRule(job, count) is { } rule)
        {
            return new JobEnd(false, "SuccessPolicy", $"Matched rules at index {rule}");
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

        return Math.Max(0, Math.Min(completions - count.Succeeded - (count.FailedIndexes?.Count ?? 0), job.Parallelism()));
    }

    /// <summary>How many pods to make: pods still going stand in the way when the job replaces only what has ended.</summary>
    public static long Missing(KubeObject job, JobCount count, long wanted, long active) =>
        wanted - active - (job.ReplacesOnlyFailed() ? count.Terminating : 0);

    /// <summary>
    /// The lowest indexes without an end and without a pod at work. With a limit for each index one whose back-off still runs is passed
    /// over, and <paramref name="wait"/> is when the first of those is due.
    /// </summary>
    public static IReadOnlyList<int> NextIndexes(
        KubeObject job, JobCount count, IEnumerable<KubeObject> pods, int number, DateTimeOffset now, out TimeSpan? wait)
    {
        bool strict = job.ReplacesOnlyFailed();
        HashSet<int> busy =
        [
            .. count.CompletedIndexes, .. count.FailedIndexes ?? [],
            .. pods.Where(p => strict ? !p.IsFinished() : p.IsActive()).Select(p => p.CompletionIndex()),
        ];
        List<int> next = [];
        wait = null;
        for (int i = 0; i < (job.Completions() ?? 0) && next.Count < number; i++)
        {
            if (busy.Contains(i))
            {
                continue;
            }

            TimeSpan left = count.Held.TryGetValue(i, out KubeObject? failed) ? Left(failed.FinishedAt(), failed.AllIndexFailures() + 1, now) : TimeSpan.Zero;
            if (left <= TimeSpan.Zero)
            {
                next.Add(i);
            }
            else if (wait is null || left < wait)
            {
                wait = left;
            }
        }

        return next;
    }

    /// <summary>How long to wait before the next pod after failures: 10 s, doubled with each failure since the last success, at most 10 min.</summary>
    public static TimeSpan Backoff(KubeObject job, IEnumerable<KubeObject> pods, DateTimeOffset now)
    {
        KubeObject[] ended = [.. pods.Where(p => p.Phase() == "Succeeded" || p.HasFailed(job)).OrderByDescending(p => p.FinishedAt())];
        int failures = ended.TakeWhile(p => p.Phase() != "Succeeded").Count();
        return failures == 0 ? TimeSpan.Zero : Left(ended[0].FinishedAt(), failures, now);
    }

    private static TimeSpan Left(DateTimeOffset since, long failures, DateTimeOffset now)
    {
        TimeSpan wait = failures > 10 ? BackoffMax : BackoffFirst * Math.Pow(2, failures - 1);
        TimeSpan left = since + (wait < BackoffMax ? wait : BackoffMax) - now;
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    private static string? FailJob(KubeObject job, IReadOnlyList<KubeObject> pods)
    {
        if (!job.Spec.Has("podFailurePolicy"))
        {
            return null;
        }

        foreach (KubeObject pod in pods.Where(p => p.HasFailed(job)))
        {
            if (FailureVerdict.Of(job, pod) is { Action: FailureAction.FailJob, Message: var message })
            {
                return message;
            }
        }

        return null;
    }

    private static bool RestartedTooOften(KubeObject job, JobCount count, long limit)
    {
        if (job.Spec.Get("template", "spec").Text("restartPolicy") != "OnFailure")
        {
            return false;
        }

        long restarts = count.Active.Sum(p =>
            p.Status.Items("initContainerStatuses").Concat(p.Status.Items("containerStatuses")).Sum(c => c.Long("restartCount")));
        return limit == 0 ? restarts > 0 : restarts >= limit;
    }

    private static JobEnd? FailedByIndexes(KubeObject job, JobCount count)
    {
        if (count.FailedIndexes is not { Count: > 0 } failed)
        {
            return null;
        }

        if (job.Spec.Has("maxFailedIndexes") && failed.Count > job.Spec.Long("maxFailedIndexes"))
        {
            return new JobEnd(true, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes");
        }

        return failed.Count + count.CompletedIndexes.Count >= job.Completions() ? new JobEnd(true, "FailedIndexes", "Job has failed indexes") : null;
    }

    /// <summary>The first rule of the success policy that is met.</summary>
    private static int? SuccessRule(KubeObject job, JobCount count)
    {
        int at = 0;
        foreach (JsonElement rule in job.Spec.Get("successPolicy").Items("rules"))
        {
            SortedSet<int>? named = rule.Has("succeededIndexes") ? IndexRanges.Parse(rule.Text("succeededIndexes"), job.Completions() ?? 0) : null;
            int done = named is null ? count.CompletedIndexes.Count : named.Count(count.CompletedIndexes.Contains);
            long wanted = rule.Has("succeededCount") ? rule.Long("succeededCount") : named?.Count ?? long.MaxValue;
            if (done >= wanted && done > 0)
            {
                return at;
            }

            at++;
        }

        return null;
    }
}

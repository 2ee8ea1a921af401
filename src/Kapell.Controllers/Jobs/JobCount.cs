using System.Globalization;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>What a job has come to, counted from its status and its pods.</summary>
internal sealed record JobCount
{
    public List<KubeObject> Active { get; } = [];

    /// <summary>Ended well and not counted before.</summary>
    public List<KubeObject> NewSucceeded { get; } = [];

    /// <summary>Failed and not counted before.</summary>
    public List<KubeObject> NewFailed { get; } = [];

    /// <summary>Failed, but the policy says that this does not count: they are only let go.</summary>
    public List<KubeObject> Ignored { get; } = [];

    /// <summary>
    /// With a limit for each index: the last failed pod of an index that will be tried again. It stays until its successor is there,
    /// since it carries the count of the index's failures.
    /// </summary>
    public Dictionary<int, KubeObject> Held { get; } = [];

    public SortedSet<int> CompletedIndexes { get; init; } = [];

    /// <summary>Indexes that are given up; null without a limit for each index.</summary>
    public SortedSet<int>? FailedIndexes { get; init; }

    public long Succeeded { get; set; }

    public long Failed { get; set; }

    public long Ready { get; set; }

    /// <summary>Being deleted and still at work.</summary>
    public long Terminating { get; set; }

    /// <summary>
    /// Counts each pod once for all time: what is in status.succeeded and status.failed has been counted and carries no finalizer any
    /// more; what is in uncountedTerminatedPods is counted here; a finished pod that still carries it is new.
    /// </summary>
    public static JobCount Of(KubeObject job, IReadOnlyList<KubeObject> pods)
    {
        System.Text.Json.JsonElement uncounted = job.Status.Get("uncountedTerminatedPods");
        HashSet<string> oldSucceeded = [.. uncounted.Items("succeeded").Select(u => u.GetString() ?? "")];
        HashSet<string> oldFailed = [.. uncounted.Items("failed").Select(u => u.GetString() ?? "")];
        long completions = job.Completions() ?? 0;
        JobCount count = new()
        {
            CompletedIndexes = job.IsIndexed() ? IndexRanges.Parse(job.Status.Text("completedIndexes"), completions) : [],
            FailedIndexes = job.HasBackoffPerIndex() ? IndexRanges.Parse(job.Status.Text("failedIndexes"), completions) : null,
        };
        foreach (KubeObject pod in pods)
        {
            count.Add(job, pod, completions, isOld: oldSucceeded.Contains(pod.Uid) || oldFailed.Contains(pod.Uid));
        }

        count.Succeeded = job.IsIndexed()
            ? count.CompletedIndexes.Count
            : job.Status.Long("succeeded") + oldSucceeded.Count + count.NewSucceeded.Count;
        count.Failed = job.Status.Long("failed") + oldFailed.Count + count.NewFailed.Count;
        count.Ready = count.Active.Count(p => p.IsReady());
        if (job.HasBackoffPerIndex())
        {
            count.Hold(pods);
        }

        return count;
    }

    private void Add(KubeObject job, KubeObject pod, long completions, bool isOld)
    {
        bool inRange = !job.IsIndexed() || (pod.CompletionIndex() >= 0 && pod.CompletionIndex() < completions);
        if (pod.IsActive())
        {
            Active.Add(pod);
            return;
        }

        Terminating += pod.IsDeleting && !pod.IsFinished() ? 1 : 0;
        if (!pod.HasTracking() || !inRange)
        {
            return;
        }

        if (pod.Phase() == "Succeeded")
        {
            if (job.IsIndexed())
            {
                CompletedIndexes.Add(pod.CompletionIndex());
            }

            if (!isOld)
            {
                NewSucceeded.Add(pod);
            }
        }
        else if (pod.HasFailed(job))
        {
            FailureVerdict verdict = FailureVerdict.Of(job, pod);
            if (!isOld)
            {
                (verdict.Action == FailureAction.Ignore ? Ignored : NewFailed).Add(pod);
            }

            if (FailedIndexes is not null && (verdict.Action == FailureAction.FailIndex
                || (verdict.Action != FailureAction.Ignore && pod.IndexFailures() + 1 > job.Spec.Long("backoffLimitPerIndex"))))
            {
                FailedIndexes.Add(pod.CompletionIndex());
            }
        }
    }

    private void Hold(IReadOnlyList<KubeObject> pods)
    {
        foreach (KubeObject pod in NewFailed.Concat(Ignored))
        {
            int index = pod.CompletionIndex();
            bool settled = CompletedIndexes.Contains(index) || FailedIndexes!.Contains(index); // not null with a limit for each index
            bool followed = pods.Any(p => p.CompletionIndex() == index && p.AllIndexFailures() > pod.AllIndexFailures());
            if (!settled && !followed)
            {
                Held[index] = pod;
            }
        }
    }
}

/// <summary>What a pod of a job with a limit for each index remembers of the failures before it.</summary>
internal static class IndexFailure
{
    public const string CountAnnotation = "batch.kubernetes.io/job-index-failure-count";
    public const string IgnoredAnnotation = "batch.kubernetes.io/job-index-ignored-failure-count";

    public static long IndexFailures(this KubeObject pod) => Number(pod, CountAnnotation);

    public static long IgnoredIndexFailures(this KubeObject pod) => Number(pod, IgnoredAnnotation);

    public static long AllIndexFailures(this KubeObject pod) => pod.IndexFailures() + pod.IgnoredIndexFailures();

    /// <summary>What the next pod of the index is told: one more than this one was, in the count that its end belongs to.</summary>
    public static (long Failures, long Ignored) After(KubeObject job, KubeObject? failed)
    {
        if (failed is null)
        {
            return (0, 0);
        }

        bool ignored = FailureVerdict.Of(job, failed).Action == FailureAction.Ignore;
        return (failed.IndexFailures() + (ignored ? 0 : 1), failed.IgnoredIndexFailures() + (ignored ? 1 : 0));
    }

    private static long Number(KubeObject pod, string annotation) =>
        pod.Annotations.TryGetValue(annotation, out string? text) && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long n) ? n : 0;
}

using System.Globalization;
using System.Text.Json;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Jobs;

/// <summary>What the job controller asks of a Job and of its pods.</summary>
internal static class JobView
{
    public const string TrackingFinalizer = "batch.kubernetes.io/job-tracking";
    public const string IndexAnnotation = "batch.kubernetes.io/job-completion-index";

    public static bool IsIndexed(this KubeObject job) => job.Spec.Text("completionMode") == "Indexed";

    public static long? Completions(this KubeObject job) => job.Spec.Has("completions") ? job.Spec.Long("completions") : null;

    public static long Parallelism(this KubeObject job) => job.Spec.Long("parallelism", 1);

    public static bool HasBackoffPerIndex(this KubeObject job) => job.Spec.Has("backoffLimitPerIndex");

    /// <summary>A pod is replaced only once it has ended, not when its deletion begins (podReplacementPolicy Failed, and any podFailurePolicy).</summary>
    public static bool ReplacesOnlyFailed(this KubeObject job) =>
        job.Spec.Text("podReplacementPolicy") == "Failed" || job.Spec.Has("podFailurePolicy");

    /// <summary>A pod being deleted counts as failed at once, unless the job waits for its end (isPodFailed).</summary>
    public static bool HasFailed(this KubeObject pod, KubeObject job) =>
        pod.Phase() == "Failed" || (!job.ReplacesOnlyFailed() && pod.IsDeleting && pod.Phase() != "Succeeded");

    /// <summary>Complete or Failed is True.</summary>
    public static JsonElement? FinishedCondition(KubeObject job)
    {
        foreach (JsonElement c in job.Status.Items("conditions"))
        {
            if (c.Text("type") is "Complete" or "Failed" && c.Text("status") == "True")
            {
                return c;
            }
        }

        return null;
    }

    public static bool HasTracking(this KubeObject pod) => pod.Metadata.Items("finalizers").Any(f => f.GetString() == TrackingFinalizer);

    /// <summary>-1 when it has none.</summary>
    public static int CompletionIndex(this KubeObject pod) =>
        pod.Annotations.TryGetValue(IndexAnnotation, out string? text) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int i) ? i : -1;

    /// <summary>When the pod's last container ended; for pods without times, its deletion or creation (backoff_utils.go: getFinishedTime).</summary>
    public static DateTimeOffset FinishedAt(this KubeObject pod)
    {
        DateTimeOffset last = DateTimeOffset.MinValue;
        foreach (JsonElement c in pod.Status.Items("containerStatuses"))
        {
            if (Times.TryParse(c.Get("state").Get("terminated").Text("finishedAt"), out DateTimeOffset t) && t > last)
            {
                last = t;
            }
        }

        return last > DateTimeOffset.MinValue ? last : pod.Created();
    }
}

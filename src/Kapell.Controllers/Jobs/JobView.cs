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

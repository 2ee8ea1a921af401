using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>What controllers ask of a pod (pkg/api/v1/pod).</summary>
internal static class PodView
{
    public static string Phase(this KubeObject pod) => pod.Status.Text("phase");

    public static string NodeName(this KubeObject pod) => pod.Spec.Text("nodeName");

    public static bool IsFinished(this KubeObject pod) => pod.Phase() is "Succeeded" or "Failed";

    /// <summary>Not finished and not being deleted.</summary>
    public static bool IsActive(this KubeObject pod) => !pod.IsFinished() && !pod.IsDeleting;

    public static bool IsReady(this KubeObject pod) => Condition(pod, "Ready").Text("status") == "True";

    /// <summary>Ready for at least so long.</summary>
    public static bool IsAvailable(this KubeObject pod, long minReadySeconds, DateTimeOffset now)
    {
        JsonElement ready = Condition(pod, "Ready");
        if (ready.Text("status") != "True")
        {
            return false;
        }

        return minReadySeconds == 0
            || (Times.TryParse(ready.Text("lastTransitionTime"), out DateTimeOffset since) && since.AddSeconds(minReadySeconds) <= now);
    }

    public static JsonElement Condition(KubeObject o, string type)
    {
        foreach (JsonElement c in o.Status.Items("conditions"))
        {
            if (c.Text("type") == type)
            {
                return c;
            }
        }

        return default;
    }

    public static DateTimeOffset ReadySince(this KubeObject pod) =>
        Times.TryParse(Condition(pod, "Ready").Text("lastTransitionTime"), out DateTimeOffset t) ? t : DateTimeOffset.MinValue;

    public static DateTimeOffset Created(this KubeObject o) =>
        Times.TryParse(o.Metadata.Text("creationTimestamp"), out DateTimeOffset t) ? t : DateTimeOffset.MinValue;

    public static long MaxRestarts(this KubeObject pod) =>
        pod.Status.Items("containerStatuses").Select(c => c.Long("restartCount")).DefaultIfEmpty(0).Max();
}

using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.ReplicaSets;

/// <summary>The status a replica set should have (replica_set_utils.go: calculateStatus). Pure.</summary>
internal static class ReplicaSetStatus
{
    /// <param name="failure">Reason and message of what keeps it from its number, or null.</param>
    public static JsonObject Of(KubeObject rs, IReadOnlyList<KubeObject> pods, (string Reason, string Message)? failure, DateTimeOffset now)
    {
        IReadOnlyDictionary<string, string> templateLabels = rs.Spec.Get("template", "metadata").TextMap("labels");
        LabelMatch template = LabelMatch.OfMap(templateLabels);
        long minReady = rs.Spec.Long("minReadySeconds");
        JsonObject status = rs.Status.Object();
        status["replicas"] = pods.Count;
        status.SetOrRemove("fullyLabeledReplicas", pods.Count(p => template.Matches(p.Labels)));
        status.SetOrRemove("readyReplicas", pods.Count(p => p.IsReady()));
        status.SetOrRemove("availableReplicas", pods.Count(p => p.IsAvailable(minReady, now)));
        status.SetOrRemove("observedGeneration", rs.Generation);
        if (failure is { } f && Conditions.Find(status, "ReplicaFailure") is null)
        {
            Conditions.Set(status, "ReplicaFailure", "True", f.Reason, f.Message, now, withUpdateTime: false);
        }
        else if (failure is null)
        {
            Conditions.Remove(status, "ReplicaFailure");
        }

        return status;
    }
}

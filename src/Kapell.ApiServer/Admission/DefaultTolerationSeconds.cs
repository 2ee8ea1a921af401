using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise (upstream: plugin/pkg/admission/defaulttolerationseconds).</summary>
internal sealed class DefaultTolerationSeconds : IAdmission
{
    private const int Seconds = 300;

    public bool Handles(AdmissionRequest request) =>
        AdmissionErrors.IsPod(request) && (request.Operation == AdmissionOperation.Create || request.Operation == AdmissionOperation.Update);

    public ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject spec = request.Object!.ObjectOrNew("spec");
        foreach (string key in (string[])["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
        {
            JsonArray tolerations = spec.Array("tolerations") ?? [];
            if (tolerations.Any(t => Covers(t, key)))
            {
                continue;
            }

            if (spec.Array("tolerations") is null)
            {
                spec["tolerations"] = tolerations;
            }

            tolerations.Add((JsonNode)new JsonObject
            {
                ["key"] = key, ["operator"] = "Exists", ["effect"] = "NoExecute", ["tolerationSeconds"] = Seconds,
            });
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel) => ValueTask.CompletedTask;

    private static bool Covers(JsonNode? toleration, string key) =>
        (toleration.Text("key") == key || toleration.Text("key").Length == 0)
        && (toleration.Text("effect") == "NoExecute" || toleration.Text("effect").Length == 0);
}

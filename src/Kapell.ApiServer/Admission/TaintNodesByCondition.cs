using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>A new node takes no pods before it has shown that it is ready (upstream: plugin/pkg/admission/nodetaint).</summary>
internal sealed class TaintNodesByCondition : IAdmission
{
    private const string NotReady = "node.kubernetes.io/not-ready";

    public bool Handles(AdmissionRequest request) =>
        AdmissionErrors.Is(request, "", "nodes") && request.Operation == AdmissionOperation.Create && request.Subresource.Length == 0;

    public ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject spec = request.Object!.ObjectOrNew("spec");
        if (spec.Array("taints") is not { } taints)
        {
            spec["taints"] = taints = [];
        }

        if (!taints.Any(t => t.Text("key") == NotReady && t.Text("effect") == "NoSchedule"))
        {
            taints.Add((JsonNode)new JsonObject { ["key"] = NotReady, ["effect"] = "NoSchedule" });
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel) => ValueTask.CompletedTask;
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>Copies a runtime class's overhead and scheduling constraints into the pod (upstream: plugin/pkg/admission/runtimeclass).</summary>
internal sealed class RuntimeClassAdmission(Func<ObjectKey, CancellationToken, ValueTask<KubeObject?>> find) : IAdmission
{
    public bool Handles(AdmissionRequest request) => AdmissionErrors.IsPod(request) && request.Operation == AdmissionOperation.Create;

    public async ValueTask MutateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject spec = request.Object!.ObjectOrNew("spec");
        if (await ClassAsync(request, spec, cancel) is not { } runtime)
        {
            return;
        }

        JsonElement overhead = runtime.Root.Get("overhead", "podFixed");
        if (overhead.ValueKind == JsonValueKind.Object)
        {
            JsonObject wanted = JsonBytes.ParseObject(KubeObject.From(overhead).Utf8.Span);
            if (spec.Object("overhead") is { } given && !JsonNode.DeepEquals(given, wanted))
            {
                throw AdmissionErrors.Forbidden(request, $"pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
            }

            spec["overhead"] = wanted;
        }

        JsonElement scheduling = runtime.Root.Get("scheduling");
        MergeNodeSelector(request, spec, scheduling);
        foreach (JsonElement toleration in scheduling.Items("tolerations"))
        {
            JsonNode node = KubeObject.From(toleration).ToNode();
            if (spec.Array("tolerations") is not { } there)
            {
                spec["tolerations"] = there = [];
            }

            if (!there.Any(t => JsonNode.DeepEquals(t, node)))
            {
                there.Add(node);
            }
        }
    }

    public async ValueTask ValidateAsync(AdmissionRequest request, CancellationToken cancel)
    {
        JsonObject spec = request.Object!.ObjectOrNew("spec");
        KubeObject? runtime = await ClassAsync(request, spec, cancel);
        bool expected = runtime?.Root.Get("overhead", "podFixed").ValueKind == JsonValueKind.Object;
        if (!expected && spec.Object("overhead") is { Count: > 0 })
        {
            throw AdmissionErrors.Forbidden(request, runtime is null
                ? "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
                : "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
        }
    }

    private static void MergeNodeSelector(AdmissionRequest request, JsonObject spec, JsonElement scheduling)
    {
        foreach ((string key, string value) in scheduling.TextMap("nodeSelector"))
        {
            JsonObject selector = spec.ObjectOrNew("nodeSelector");
            if (selector[key].AsText() is { } own && own != value)
            {
                throw new StatusException(Status.Conflict(
                    request.Resource, AdmissionErrors.NameOf(request),
                    $"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"));
            }

            selector[key] = value;
        }
    }

    private async ValueTask<KubeObject?> ClassAsync(AdmissionRequest request, JsonObject spec, CancellationToken cancel)
    {
        string name = spec.Text("runtimeClassName");
        if (name.Length == 0)
        {
            return null;
        }

        return await find(new ObjectKey("", name), cancel)
            ?? throw AdmissionErrors.Forbidden(request, $"pod rejected: RuntimeClass \"{name}\" not found");
    }
}

using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Kapell.Machinery.Apply;
using Kapell.Machinery.Patches;
using Kapell.Machinery.Schemas;

namespace Kapell.ApiServer.Verbs;

/// <summary>One patch, read once however often it is applied.</summary>
/// <param name="Config">For apply: the configuration, decoded.</param>
internal sealed record Patch(PatchType Type, byte[] Body, bool Force, JsonObject? Config);

/// <summary>Patches to objects: current state, patch, decoding, defaults (upstream: endpoints/handlers/patch.go).</summary>
internal sealed class PatchEngine(Decoder decoder)
{
    public Patch Prepare(VerbRequest request, PatchType type, byte[] body, bool force)
    {
        if (type != PatchType.Apply)
        {
            return new Patch(type, body, force, null);
        }

        request.FieldsAreTracked = true;
        byte[] json = Bodies.YamlToJson(body);
        (GroupVersionKind kind, TypeSchema? schema) = Target(request);
        if (schema is null)
        {
            throw new StatusException(Status.UnsupportedMediaType($"apply is not possible for {kind}: the server has no schema for it"));
        }

        return new Patch(type, body, force, decoder.Object(json, kind, schema, request));
    }

    public JsonObject Produce(VerbRequest request, Patch patch, JsonObject? current)
    {
        ResourceDefinition definition = request.Definition;
        SubresourceDefinition? sub = request.Subresource;
        if (patch.Config is { } config)
        {
            return ProduceApplied(request, patch, config, current);
        }

        if (current is null)
        {
            throw new StatusException(Status.NotFound(definition.GroupResource, request.Name));
        }

        if (sub?.View is { } view && sub.Merge is { } merge)
        {
            TypeSchema? viewSchema = decoder.SchemaOf(sub.Kind);
            JsonObject patchedView = decoder.Patched(Apply(patch, view(current), viewSchema), viewSchema, request);
            merge(current, patchedView);
            return current;
        }

        TypeSchema? schema = decoder.SchemaOf(definition.SchemaName);
        JsonObject patched = decoder.Patched(Apply(patch, current, schema), schema, request);
        definition.Default?.Invoke(patched);
        return patched;
    }

    private JsonObject ProduceApplied(VerbRequest request, Patch patch, JsonObject config, JsonObject? current)
    {
        ResourceDefinition definition = request.Definition;
        (GroupVersionKind kind, TypeSchema? schema) = Target(request);
        if (request.Subresource is { View: { } view, Merge: { } merge } sub)
        {
            if (current is null)
            {
                throw new StatusException(Status.NotFound(definition.GroupResource, request.Name));
            }

            JsonObject shown = view(current);
            JsonObject changed = MergePatch.Apply(shown, config) as JsonObject ?? shown;
            _ = sub;
            merge(current, changed);
            return current;
        }

        JsonObject result = ServerSideApply.Apply(
            current, config, request.FieldManager, patch.Force, kind.ApiVersion, request.SubresourceName, request.Now, schema!);
        definition.Default?.Invoke(result);
        return result;
    }

    private (GroupVersionKind Kind, TypeSchema? Schema) Target(VerbRequest request) => request.Subresource is { View: not null } sub
        ? (sub.Kind, decoder.SchemaOf(sub.Kind))
        : (request.Definition.GroupVersionKind, decoder.SchemaOf(request.Definition.SchemaName));

    private static JsonObject Apply(Patch patch, JsonObject target, TypeSchema? schema) => patch.Type switch
    {
        PatchType.Json => JsonPatch.Apply(target, patch.Body),
        PatchType.Merge => MergePatch.Apply(target, patch.Body),
        PatchType.Strategic when schema is not null => StrategicMergePatch.Apply(target, patch.Body, schema),
        _ => throw new StatusException(Status.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json")),
    };
}

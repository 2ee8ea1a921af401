using System.Text.Json;
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
/// <param name="Strict">What strict decoding says of the patch itself.</param>
internal sealed record Patch(PatchType Type, byte[] Body, bool Force, JsonObject? Config, IReadOnlyList<string> Strict);

/// <summary>Patches to objects: current state, patch, decoding, defaults (upstream: endpoints/handlers/patch.go).</summary>
internal sealed class PatchEngine(Decoder decoder)
{
    public Patch Prepare(VerbRequest request, PatchType type, byte[] body, bool force)
    {
        if (type != PatchType.Apply)
        {
            Check(type, body);
            string prefix = type == PatchType.Json ? "json patch " : "";
            return new Patch(type, body, force, null, [.. DuplicateFields.In(body).Select(d => prefix + d)]);
        }

        request.FieldsAreTracked = true;
        byte[] json = FromYaml(body);
        (GroupVersionKind kind, TypeSchema? schema) = Target(request);
        if (schema is null)
        {
            throw new StatusException(Status.UnsupportedMediaType($"apply is not possible for {kind}: the server has no schema for it"));
        }

        return new Patch(type, body, force, decoder.Applied(json, kind, schema, request), []);
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
            JsonObject applied = Apply(patch, view(current), viewSchema);
            merge(current, decoder.Patched(applied, viewSchema, request, () => Shown(patch, applied), patch.Strict));
            return current;
        }

        TypeSchema? schema = decoder.SchemaOf(definition.SchemaName);
        JsonObject document = Apply(patch, current, schema);
        JsonObject patched = decoder.Patched(document, schema, request, () => Shown(patch, document), patch.Strict);
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

    /// <summary>What can be said of a patch before there is an object (upstream: validateAndTranscodePatch, then each patcher's decoding).</summary>
    private static void Check(PatchType type, byte[] body)
    {
        JsonValueKind kind;
        try
        {
            using JsonDocument document = JsonDocument.Parse(body, new JsonDocumentOptions { MaxDepth = 128 });
            kind = document.RootElement.ValueKind;
        }
        catch (JsonException)
        {
            throw new StatusException(Status.BadRequest("invalid JSON patch"));
        }

        bool fits = kind == (type == PatchType.Json ? JsonValueKind.Array : JsonValueKind.Object) || kind == JsonValueKind.Null;
        if (!fits)
        {
            string given = kind switch
            {
                JsonValueKind.Object => "object", JsonValueKind.Array => "array", JsonValueKind.String => "string", JsonValueKind.Number => "number",
                _ => "bool",
            };
            string wanted = type == PatchType.Json ? "[]handlers.jsonPatchOp" : "map[string]interface {}";
            string prefix = type == PatchType.Strategic ? "" : "error decoding patch: ";
            throw new StatusException(Status.BadRequest($"{prefix}json: cannot unmarshal {given} into Go value of type {wanted}"));
        }
    }

    /// <summary>What begins like JSON may still be YAML's flow style.</summary>
    private static byte[] FromYaml(byte[] body)
    {
        try
        {
            Utf8JsonReader reader = new(body, new JsonReaderOptions { MaxDepth = 128 });
            while (reader.Read())
            {
                // To the end: only then it is JSON.
            }

            return body;
        }
        catch (JsonException)
        {
            return Kapell.Machinery.Yaml.YamlToJson.ToUtf8(body, out _);
        }
    }

    private static string Shown(Patch patch, JsonObject document) => patch.Type == PatchType.Strategic
        ? GoText.OfJson(patch.Body)
        : System.Text.Encoding.UTF8.GetString(JsonBytes.Of(document));

    private (GroupVersionKind Kind, TypeSchema? Schema) Target(VerbRequest request) => request.Subresource is { View: not null } sub
        ? (sub.Kind, decoder.SchemaOf(sub.Kind))
        : (request.Definition.GroupVersionKind, decoder.SchemaOf(request.Definition.SchemaName));

    private static JsonObject Apply(Patch patch, JsonObject target, TypeSchema? schema) => patch.Type switch
    {
        PatchType.Json => ApplyOperations(target, patch.Body),
        PatchType.Merge => MergePatch.Apply(target, patch.Body),
        PatchType.Strategic when schema is not null => StrategicMergePatch.Apply(target, patch.Body, schema),
        _ => throw new StatusException(Status.UnsupportedMediaType(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json")),
    };

    /// <summary>Of an operation that fails upstream tells its log only (patch.go applyJSPatch, NewGenericServerResponse).</summary>
    private static JsonObject ApplyOperations(JsonObject target, byte[] operations)
    {
        try
        {
            return JsonPatch.Apply(target, operations);
        }
        catch (StatusException e) when (e.Code == 422)
        {
            throw new StatusException(e.Status with { Message = "the server rejected our request due to an error in our request" });
        }
    }
}

using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Registry;

/// <summary>The preparations most kinds share: status belongs to its subresource, the generation counts changes of the spec.</summary>
internal static class Strategies
{
    private static readonly string[] GetPatchUpdate = ["get", "patch", "update"];

    /// <summary>A new object has no status and is at generation 1.</summary>
    public static void CreateWithSpecAndStatus(JsonObject created, RequestFacts facts)
    {
        created.Remove("status");
        created.Ensure("metadata")["generation"] = 1L;
    }

    public static void CreateWithoutStatus(JsonObject created, RequestFacts facts) => created.Remove("status");

    /// <summary>Status as it was; the generation one higher when the spec means something else than before.</summary>
    public static void UpdateWithSpecAndStatus(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        updated.TakeFrom("status", old);
        CountGeneration(updated, old, updated["spec"].SameAs(old["spec"]));
    }

    public static void UpdateWithoutStatus(JsonObject updated, JsonObject old, RequestFacts facts) => updated.TakeFrom("status", old);

    /// <summary>For kinds that count generations: only the server does.</summary>
    public static void CountGeneration(JsonObject updated, JsonObject old, bool same)
    {
        long before = old.Obj("metadata").Long("generation") ?? 0;
        updated.Ensure("metadata")["generation"] = same ? before : before + 1;
    }

    /// <summary>The <c>status</c> subresource: everything but the status (and metadata) stays.</summary>
    public static void UpdateStatus(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        updated.TakeFrom("spec", old);
        KeepGeneration(updated, old);
    }

    public static void KeepGeneration(JsonObject updated, JsonObject old)
    {
        if (old.Obj("metadata").Has("generation"))
        {
            updated.Ensure("metadata").TakeFrom("generation", old.Obj("metadata")!);
        }
    }

    /// <summary>The <c>status</c> subresource of kinds whose labels it may not touch either (upstream: apps/v1).</summary>
    public static void UpdateStatusKeepingLabels(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        UpdateStatus(updated, old, facts);
        updated.Ensure("metadata").TakeFrom("labels", old.Obj("metadata") ?? []);
    }

    public static SubresourceDefinition Status(
        GroupVersionKindOf kind,
        Action<JsonObject, JsonObject, RequestFacts>? prepare = null,
        Func<JsonObject, JsonObject, List<Machinery.FieldError>>? validate = null) => new()
        {
            Name = "status",
            Kind = kind.Value,
            Verbs = GetPatchUpdate,
            PrepareForUpdate = prepare ?? UpdateStatus,
            ValidateUpdate = validate,
        };

    /// <summary>A subresource served elsewhere: here it only has to be known.</summary>
    public static SubresourceDefinition Elsewhere(string name, GroupVersionKindOf kind, params string[] verbs) =>
        new() { Name = name, Kind = kind.Value, Verbs = verbs };
}

/// <summary>A group, version and kind written as <c>"apps/v1 Deployment"</c> or <c>"v1 Pod"</c>.</summary>
internal readonly record struct GroupVersionKindOf(Machinery.GroupVersionKind Value)
{
    public static implicit operator GroupVersionKindOf(string text)
    {
        string[] parts = text.Split('/', ' ');
        return new(parts.Length == 2 ? new("", parts[0], parts[1]) : new(parts[0], parts[1], parts[2]));
    }
}

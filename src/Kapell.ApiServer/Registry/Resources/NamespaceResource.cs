using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Namespace: born Active with the <c>kubernetes</c> finalizer, which only the <c>finalize</c> subresource takes away.</summary>
internal static class NamespaceResource
{
    private const string NameLabel = "kubernetes.io/metadata.name";
    private const string Finalizer = "kubernetes";

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Namespace",
        Plural = "namespaces",
        Singular = "namespace",
        ShortNames = ["ns"],
        Namespaced = false,
        Verbs = ["create", "delete", "get", "list", "patch", "update", "watch"],
        SchemaName = "io.k8s.api.core.v1.Namespace",
        StorageKey = "namespaces",
        NameRule = NameRule.Dns1123Label,
        Default = Default,
        PrepareForCreate = PrepareForCreate,
        PrepareForUpdate = PrepareForUpdate,
        ValidateUpdate = static (_, _) => [],
        PrepareForDelete = static ns => ns.Ensure("status")["phase"] = "Terminating",
        HoldsDeletion = static ns => ns.Obj("spec").HasItems("finalizers"),
        ReturnDeletedObject = true,
        Subresources =
        [
            new()
            {
                Name = "finalize",
                Kind = new("", "v1", "Namespace"),
                Verbs = ["update"],
                PrepareForUpdate = static (updated, old, _) => updated.TakeFrom("status", old),
                ValidateUpdate = static (updated, _) => ValidateFinalizers(updated),
            },
            Strategies.Status("v1 Namespace", validate: ValidateStatus),
        ],
        SelectableFields = new Dictionary<string, Func<System.Text.Json.JsonElement, string>>
        {
            ["status.phase"] = static o => o.Get("status").Text("phase"),
        },
        Columns = [Columns.Name, Columns.Text("Status", "The status of the namespace"), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), o.Get("status").Text("phase"), HumanDuration.Age(o, now)],
    };

    private static void Default(JsonObject o)
    {
        string name = o.Obj("metadata").Text("name");
        if (name.Length > 0)
        {
            o["metadata"]!.AsObject().Ensure("labels")[NameLabel] = name;
        }

        o.Ensure("spec");
        o.Ensure("status").DefaultText("phase", "Active");
    }

    private static void PrepareForCreate(JsonObject o, RequestFacts facts)
    {
        o["status"] = new JsonObject { ["phase"] = "Active" };
        JsonObject spec = o.Ensure("spec");
        if (!spec.Texts("finalizers").Contains(Finalizer))
        {
            JsonArray finalizers = [.. spec.Texts("finalizers").Select(f => (JsonNode)f)];
            finalizers.Add((JsonNode)Finalizer);
            spec["finalizers"] = finalizers;
        }

        // A generated name is known only now (upstream: the namespace strategy's Canonicalize).
        Default(o);
    }

    private static void PrepareForUpdate(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        updated.Ensure("spec").TakeFrom("finalizers", old.Obj("spec") ?? []);
        updated.TakeFrom("status", old);
    }

    private static List<FieldError> ValidateFinalizers(JsonObject updated)
    {
        List<FieldError> errors = [];
        int i = 0;
        foreach (string finalizer in updated.Obj("spec").Texts("finalizers"))
        {
            // core: ValidateFinalizerName: qualified, and of the standard ones when it has no domain.
            FieldPath path = FieldPath.New("spec", "finalizers").Index(i++);
            if (!finalizer.Contains('/') && finalizer is not (Finalizer or "orphan" or "foregroundDeletion"))
            {
                errors.Add(FieldError.Invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified"));
            }
        }

        return errors;
    }

    private static List<FieldError> ValidateStatus(JsonObject updated, JsonObject old)
    {
        FieldPath path = FieldPath.New("status", "Phase");
        string phase = updated.Obj("status").Text("phase");
        bool deleting = updated.Obj("metadata").Has("deletionTimestamp");
        if (!deleting && phase != "Active")
        {
            return [FieldError.Invalid(path, phase, "may only be 'Active' if `deletionTimestamp` is empty")];
        }

        return deleting && phase != "Terminating"
            ? [FieldError.Invalid(path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
            : [];
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 ControllerRevision: a past template, which never changes.</summary>
internal static class ControllerRevisionResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "apps",
        Version = "v1",
        Kind = "ControllerRevision",
        Plural = "controllerrevisions",
        Singular = "controllerrevision",
        Namespaced = true,
        SchemaName = "io.k8s.api.apps.v1.ControllerRevision",
        StorageKey = "controllerrevisions",
        Validate = static o => Revision(o),
        ValidateUpdate = static (updated, old) => updated["data"].SameAs(old["data"])
            ? []
            : [FieldError.Invalid(FieldPath.New("data"), updated["data"], "field is immutable")],
        Columns =
        [
            Columns.Name,
            Columns.Text("Controller", "Controller of the object"),
            Columns.Number("Revision", "Number of the revision."),
            Columns.Age,
        ],
        Row = static (o, now) => [Columns.NameOf(o), Controller(o), o.Long("revision"), HumanDuration.Age(o, now)],
    };

    private static List<FieldError> Revision(JsonObject o)
    {
        List<FieldError> errors = [];
        if (!o.Has("data"))
        {
            errors.Add(FieldError.Required(FieldPath.New("data"), "data is mandatory"));
        }

        if ((o.Long("revision") ?? 0) < 0)
        {
            errors.Add(FieldError.Invalid(FieldPath.New("revision"), o.Long("revision"), Validating.NotNegative));
        }

        return errors;
    }

    private static string Controller(JsonElement o)
    {
        JsonElement owner = o.Get("metadata").Items("ownerReferences").FirstOrDefault(r => r.Bool("controller"));
        if (owner.ValueKind == JsonValueKind.Undefined)
        {
            return Columns.None;
        }

        int slash = owner.Text("apiVersion").IndexOf('/', StringComparison.Ordinal);
        string group = slash < 0 ? "" : "." + owner.Text("apiVersion")[..slash];
        return owner.Text("kind").ToLowerInvariant() + group + "/" + owner.Text("name");
    }
}

using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>node.k8s.io/v1 RuntimeClass.</summary>
internal static class RuntimeClassResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "node.k8s.io",
        Version = "v1",
        Kind = "RuntimeClass",
        Plural = "runtimeclasses",
        Singular = "runtimeclass",
        Namespaced = false,
        SchemaName = "io.k8s.api.node.v1.RuntimeClass",
        StorageKey = "runtimeclasses",
        Default = static o =>
        {
            Quantities.Canonicalize(o.Obj("overhead", "podFixed"));
        },
        Validate = static o =>
        {
            List<FieldError> errors = [];
            string handler = o.Text("handler");
            foreach (string message in Names.IsDns1123Label(handler))
            {
                errors.Add(FieldError.Invalid(FieldPath.New("handler"), handler, message));
            }

            return errors;
        },
        ValidateUpdate = static (updated, old) =>
        {
            List<FieldError> errors = [];
            Validating.Immutable(errors, FieldPath.New("handler"), updated["handler"], old["handler"]);
            return errors;
        },
        Columns = [Columns.Name, Columns.Text("Handler", "The configuration of the runtime this class names."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), o.Text("handler"), HumanDuration.Age(o, now)],
    };
}

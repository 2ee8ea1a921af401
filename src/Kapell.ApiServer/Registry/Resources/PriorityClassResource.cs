using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>scheduling.k8s.io/v1 PriorityClass.</summary>
internal static class PriorityClassResource
{
    private const long UserValueMax = 1_000_000_000;
    private const string SystemPrefix = "system-";

    private static readonly (string Name, long Value)[] System =
    [
        ("system-node-critical", 2_000_001_000),
        ("system-cluster-critical", 2_000_000_000),
    ];

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "scheduling.k8s.io",
        Version = "v1",
        Kind = "PriorityClass",
        Plural = "priorityclasses",
        Singular = "priorityclass",
        ShortNames = ["pc"],
        Namespaced = false,
        SchemaName = "io.k8s.api.scheduling.v1.PriorityClass",
        StorageKey = "priorityclasses",
        Default = static o => o.Default("preemptionPolicy", "PreemptLowerPriority"),
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = static (updated, old, _) => Strategies.KeepGeneration(updated, old),
        Validate = Validate,
        ValidateUpdate = ValidateUpdate,
        Columns =
        [
            Columns.Name,
            Columns.Number("Value", "The priority of pods of this class."),
            new("Global-Default", "boolean", "Whether pods that name no class get this one."),
            Columns.Age,
            Columns.Text("PreemptionPolicy", "Whether pods of this class may preempt others.", 1),
        ],
        Row = static (o, now) =>
            [Columns.NameOf(o), o.Long("value"), o.Bool("globalDefault"), HumanDuration.Age(o, now), o.Text("preemptionPolicy")],
    };

    private static List<FieldError> Validate(JsonObject o)
    {
        List<FieldError> errors = [];
        string name = o.Obj("metadata").Text("name");
        long value = o.Long("value") ?? 0;
        if (name.StartsWith(SystemPrefix, StringComparison.Ordinal))
        {
            if (SystemFault(o, name, value) is { } fault)
            {
                errors.Add(FieldError.Forbidden(FieldPath.New("metadata", "name"), $"priority class names with '{SystemPrefix}' prefix are reserved "
                    + "for system use only. error: " + fault));
            }
        }
        else if (value > UserValueMax)
        {
            errors.Add(FieldError.Forbidden(FieldPath.New("value"), $"maximum allowed value of a user defined priority is {UserValueMax}"));
        }

        if (o.Has("preemptionPolicy"))
        {
            Validating.OneOf(errors, FieldPath.New("preemptionPolicy"), o.Text("preemptionPolicy"), "Never", "PreemptLowerPriority");
        }

        return errors;
    }

    private static string? SystemFault(JsonObject o, string name, long value)
    {
        foreach ((string known, long knownValue) in System)
        {
            if (known == name)
            {
                return value != knownValue ? $"value of {name} PriorityClass must be {knownValue}"
                    : o.Bool("globalDefault") == true ? $"globalDefault of {name} PriorityClass must be false"
                    : null;
            }
        }

        return $"{name} is not a known system priority class";
    }

    private static List<FieldError> ValidateUpdate(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        if ((updated.Long("value") ?? 0) != (old.Long("value") ?? 0))
        {
            errors.Add(FieldError.Forbidden(FieldPath.New("value"), "may not be changed in an update."));
        }

        Validating.Immutable(errors, FieldPath.New("preemptionPolicy"), updated["preemptionPolicy"], old["preemptionPolicy"]);
        return errors;
    }
}

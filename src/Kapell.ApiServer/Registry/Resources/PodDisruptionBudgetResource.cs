using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>policy/v1 PodDisruptionBudget.</summary>
internal static class PodDisruptionBudgetResource
{
    private static readonly string[] Counts = ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"];

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "policy",
        Version = "v1",
        Kind = "PodDisruptionBudget",
        Plural = "poddisruptionbudgets",
        Singular = "poddisruptionbudget",
        ShortNames = ["pdb"],
        Namespaced = true,
        SchemaName = "io.k8s.api.policy.v1.PodDisruptionBudget",
        StorageKey = "poddisruptionbudgets",
        Default = Default,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            Default(o);
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = Validate,
        Subresources = [Strategies.Status("policy/v1 PodDisruptionBudget", validate: StatusValidation.DisruptionBudget)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Min Available", "The minimum number of pods that must be available."),
            Columns.Text("Max Unavailable", "The maximum number of pods that may be unavailable."),
            Columns.Number("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."),
            Columns.Age,
        ],
        Row = static (o, now) =>
        [
            Columns.NameOf(o),
            Amount(o.Get("spec", "minAvailable")),
            Amount(o.Get("spec", "maxUnavailable")),
            o.Get("status").Long("disruptionsAllowed"),
            HumanDuration.Age(o, now),
        ],
    };

    private static void Default(JsonObject o)
    {
        JsonObject status = o.Ensure("status");
        foreach (string count in Counts)
        {
            status.Default(count, 0);
        }
    }

    private static List<FieldError> Validate(JsonObject o)
    {
        FieldPath path = FieldPath.New("spec");
        JsonObject? spec = o.Obj("spec");
        List<FieldError> errors = [];
        if (spec.Has("minAvailable") && spec.Has("maxUnavailable"))
        {
            errors.Add(FieldError.Invalid(path, spec, "minAvailable and maxUnavailable cannot be both set"));
        }

        foreach (string name in new[] { "minAvailable", "maxUnavailable" })
        {
            if (spec.Has(name))
            {
                Validating.NotNegativeIntOrPercent(errors, path.Child(name), spec![name]);
                Validating.NotOver100Percent(errors, path.Child(name), spec[name]);
            }
        }

        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(spec.Obj("selector"), path.Child("selector")));
        if (spec.Has("unhealthyPodEvictionPolicy"))
        {
            Validating.OneOf(errors, path.Child("unhealthyPodEvictionPolicy"), spec.Text("unhealthyPodEvictionPolicy"), "AlwaysAllow", "IfHealthyBudget");
        }

        return errors;
    }

    private static string Amount(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString()!,
        JsonValueKind.Number => value.GetRawText(),
        _ => "N/A",
    };
}

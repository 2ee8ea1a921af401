using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>autoscaling/v2 HorizontalPodAutoscaler (pkg/apis/autoscaling).</summary>
internal static class AutoscalerResource
{
    private const int MetricsShown = 2;
    private const string Unknown = "<unknown>";
    private static readonly FieldPath Spec = FieldPath.New("spec");

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "autoscaling",
        Version = "v2",
        Kind = "HorizontalPodAutoscaler",
        Plural = "horizontalpodautoscalers",
        Singular = "horizontalpodautoscaler",
        ShortNames = ["hpa"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        StorageKey = "horizontalpodautoscalers",
        Default = Default,
        PrepareForCreate = static (o, _) => o["status"] = EmptyStatus(),
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = Validate,
        Subresources = [Strategies.Status("autoscaling/v2 HorizontalPodAutoscaler", validate: ValidateStatus)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Reference", "What is scaled."),
            Columns.Text("Targets", "Each metric: what it is and what it should be."),
            Columns.Text("MinPods", "The fewest replicas."),
            Columns.Text("MaxPods", "The most replicas."),
            Columns.Text("Replicas", "How many replicas there are."),
            Columns.Age,
        ],
        Row = static (o, now) =>
        {
            JsonElement spec = o.Get("spec");
            JsonElement target = spec.Get("scaleTargetRef");
            return
            [
                Columns.NameOf(o), $"{target.Text("kind")}/{target.Text("name")}", Metrics(o),
                spec.Has("minReplicas") ? spec.Long("minReplicas").ToString() : "<unset>", spec.Long("maxReplicas"), o.Get("status").Long("currentReplicas"),
                HumanDuration.Age(o, now),
            ];
        },
    };

    private static JsonObject EmptyStatus() => new() { ["desiredReplicas"] = 0L, ["currentMetrics"] = null };

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        spec.Default("minReplicas", 1);
        if (!spec.HasItems("metrics"))
        {
            spec["metrics"] = new JsonArray(new JsonObject
            {
                ["type"] = "Resource",
                ["resource"] = new JsonObject
                {
                    ["name"] = "cpu", ["target"] = new JsonObject { ["type"] = "Utilization", ["averageUtilization"] = 80L },
                },
            });
        }

        if (spec.Obj("behavior") is { } behavior)
        {
            Rules(behavior.Ensure("scaleUp"), [("Pods", 4), ("Percent", 100)], window: 0);
            Rules(behavior.Ensure("scaleDown"), [("Percent", 100)], window: null);
        }

        o.Ensure("status").Default("desiredReplicas", 0);
    }

    private static void Rules(JsonObject rules, (string Type, long Value)[] policies, long? window)
    {
        rules.Default("selectPolicy", "Max");
        if (window is { } seconds)
        {
            rules.Default("stabilizationWindowSeconds", seconds);
        }

        if (!rules.HasItems("policies"))
        {
            rules["policies"] = new JsonArray([.. policies.Select(p =>
                (JsonNode)new JsonObject { ["type"] = p.Type, ["value"] = p.Value, ["periodSeconds"] = 15L })]);
        }
    }

    private static List<FieldError> Validate(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        long max = spec.Long("maxReplicas") ?? 0;
        if (spec.Long("minReplicas") is < 1 and var min)
        {
            errors.Add(FieldError.Invalid(Spec.Child("minReplicas"), min, "must be greater than or equal to 1"));
        }

        if (max < 1)
        {
            errors.Add(FieldError.Invalid(Spec.Child("maxReplicas"), max, "must be greater than 0"));
        }

        if (spec.Long("minReplicas") > max)
        {
            errors.Add(FieldError.Invalid(Spec.Child("maxReplicas"), max, "must be greater than or equal to `minReplicas`"));
        }

        foreach (string field in new[] { "kind", "name" })
        {
            Validating.RequiredText(errors, Spec.Child("scaleTargetRef"), spec.Obj("scaleTargetRef"), field);
        }

        int i = 0;
        foreach (JsonObject metric in spec.Items("metrics"))
        {
            Metric(errors, metric, Spec.Child("metrics").Index(i++));
        }

        Behavior(errors, spec.Obj("behavior"), Spec.Child("behavior"));
        return errors;
    }

    private static void Metric(List<FieldError> errors, JsonObject metric, FieldPath path)
    {
        string type = metric.Text("type");
        PodSpecValidation.Choice(errors, path.Child("type"), type, "ContainerResource", "External", "Object", "Pods", "Resource");
        string field = type.Length == 0 ? "" : char.ToLowerInvariant(type[0]) + type[1..];
        if (type is not ("ContainerResource" or "External" or "Object" or "Pods" or "Resource"))
        {
            return;
        }

        if (metric.Obj(field) is not { } source)
        {
            errors.Add(FieldError.Required(path.Child(field), "must populate information for the given metric source"));
            return;
        }

        if (type is "Resource" or "ContainerResource")
        {
            Validating.RequiredText(errors, path.Child(field), source, "name");
            JsonObject? target = source.Obj("target");
            if (!target.Has("averageUtilization") && !target.Has("averageValue"))
            {
                errors.Add(FieldError.Required(path.Child(field, "target", "averageUtilization"), "must set either a target raw value or a target utilization"));
            }

            if (target.Long("averageUtilization") is < 1 and var percent)
            {
                errors.Add(FieldError.Invalid(path.Child(field, "target", "averageUtilization"), percent, "must be greater than 0"));
            }

            if (target.Has("averageUtilization") && target.Has("averageValue"))
            {
                errors.Add(FieldError.Forbidden(path.Child(field, "target", "averageValue"), "may not set both a target raw value and a target utilization"));
            }
        }
        else
        {
            Validating.RequiredText(errors, path.Child(field, "metric"), source.Obj("metric"), "name");
        }
    }

    private static void Behavior(List<FieldError> errors, JsonObject? behavior, FieldPath path)
    {
        foreach (string direction in new[] { "scaleUp", "scaleDown" })
        {
            if (behavior.Obj(direction) is not { } rules)
            {
                continue;
            }

            FieldPath at = path.Child(direction);
            Validating.NotNegativeNumber(errors, at, rules, "stabilizationWindowSeconds");
            if (rules.Long("stabilizationWindowSeconds") is > 3600 and var window)
            {
                errors.Add(FieldError.Invalid(at.Child("stabilizationWindowSeconds"), window, "must be less than or equal to 3600"));
            }

            Validating.OneOf(errors, at.Child("selectPolicy"), rules.Text("selectPolicy"), "Disabled", "Max", "Min");
            int i = 0;
            foreach (JsonObject policy in rules.Items("policies"))
            {
                FieldPath one = at.Child("policies").Index(i++);
                Validating.OneOf(errors, one.Child("type"), policy.Text("type"), "Percent", "Pods");
                foreach (string number in new[] { "value", "periodSeconds" })
                {
                    if ((policy.Long(number) ?? 0) is <= 0 and var value)
                    {
                        errors.Add(FieldError.Invalid(one.Child(number), value, "must be greater than zero"));
                    }
                }
            }
        }
    }

    private static List<FieldError> ValidateStatus(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        foreach (string field in new[] { "currentReplicas", "desiredReplicas" })
        {
            Validating.NotNegativeNumber(errors, FieldPath.New("status"), updated.Obj("status"), field);
        }

        return errors;
    }

    private static string Metrics(JsonElement o)
    {
        JsonElement[] specs = [.. o.Get("spec").Items("metrics")];
        JsonElement[] states = [.. o.Get("status").Items("currentMetrics")];
        string[] all = [.. specs.Select((s, i) => MetricText(s, i < states.Length ? states[i] : default))];
        string shown = string.Join(", ", all.Take(MetricsShown));
        return all.Length == 0 ? Columns.None : all.Length > MetricsShown ? $"{shown} + {all.Length - MetricsShown} more..." : shown;
    }

    private static string MetricText(JsonElement spec, JsonElement state)
    {
        string type = spec.Text("type");
        string field = type.Length == 0 ? "" : char.ToLowerInvariant(type[0]) + type[1..];
        JsonElement target = spec.Get(field, "target");
        JsonElement current = state.ValueKind == JsonValueKind.Object ? state.Get(field, "current") : default;
        string prefix = type is "Resource" or "ContainerResource" ? spec.Get(field).Text("name") + ": " : "";
        string Now(string name) => current.ValueKind == JsonValueKind.Object && current.Text(name) is { Length: > 0 } text ? text : Unknown;
        if (target.Text("averageValue") is { Length: > 0 } average)
        {
            return $"{prefix}{Now("averageValue")}/{average}{(type is "External" or "Object" ? " (avg)" : "")}";
        }

        if (prefix.Length == 0)
        {
            return $"{Now("value")}/{target.Text("value")}";
        }

        string used = current.ValueKind == JsonValueKind.Object && current.Has("averageUtilization") ? $"{current.Long("averageUtilization")}%" : Unknown;
        return $"{prefix}{used}/{(target.Has("averageUtilization") ? $"{target.Long("averageUtilization")}%" : "<auto>")}";
    }
}

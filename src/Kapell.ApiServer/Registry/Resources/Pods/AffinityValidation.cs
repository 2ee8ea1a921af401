using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Where a pod may and should run: affinity, tolerations, spreading (core validation: validateAffinity, ValidateTolerations).</summary>
internal static class AffinityValidation
{
    private const string Required = "requiredDuringSchedulingIgnoredDuringExecution";
    private const string Preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    private const string EmptyKey = "can not be empty";

    public static void Affinity(List<FieldError> errors, JsonObject? affinity, FieldPath path)
    {
        if (affinity.Obj("nodeAffinity") is { } node)
        {
            NodeAffinity(errors, node, path.Child("nodeAffinity"));
        }

        foreach (string kind in new[] { "podAffinity", "podAntiAffinity" })
        {
            PodAffinity(errors, affinity.Obj(kind), path.Child(kind));
        }
    }

    public static void Tolerations(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject toleration in spec.Items("tolerations"))
        {
            FieldPath at = path.Index(i++);
            string key = toleration.Text("key");
            string op = toleration.Text("operator");
            string effect = toleration.Text("effect");
            string value = toleration.Text("value");
            if (key.Length > 0)
            {
                Validating.Messages(errors, at.Child("key"), key, Names.IsQualifiedName(key));
            }
            else if (op != "Exists")
            {
                errors.Add(FieldError.Invalid(at.Child("operator"), op,
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
            }

            if (toleration.Has("tolerationSeconds") && effect != "NoExecute")
            {
                errors.Add(FieldError.Invalid(at.Child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
            }

            switch (op)
            {
                case "" or "Equal":
                    IReadOnlyList<string> faults = Names.IsLabelValue(value);
                    if (faults.Count > 0)
                    {
                        errors.Add(FieldError.Invalid(at.Child("operator"), value, string.Join(';', faults)));
                    }

                    break;
                case "Exists" when value.Length > 0:
                    errors.Add(FieldError.Invalid(at.Child("operator"), toleration, "value must be empty when `operator` is 'Exists'"));
                    break;
                case "Exists":
                    break;
                default:
                    errors.Add(FieldError.NotSupported(at.Child("operator"), op, ["Equal", "Exists"]));
                    break;
            }

            if (effect.Length > 0)
            {
                TaintEffect(errors, at.Child("effect"), effect);
            }
        }
    }

    public static void TaintEffect(List<FieldError> errors, FieldPath path, string effect) =>
        PodSpecValidation.Choice(errors, path, effect, "NoSchedule", "PreferNoSchedule", "NoExecute");

    public static void TopologySpread(List<FieldError> errors, JsonObject spec, FieldPath path)
    {
        HashSet<(string, string)> seen = [];
        int i = 0;
        foreach (JsonObject constraint in spec.Items("topologySpreadConstraints"))
        {
            FieldPath at = path.Index(i++);
            long skew = constraint.Long("maxSkew") ?? 0;
            string key = constraint.Text("topologyKey");
            string unsatisfiable = constraint.Text("whenUnsatisfiable");
            if (skew <= 0)
            {
                errors.Add(FieldError.Invalid(at.Child("maxSkew"), skew, "must be greater than zero"));
            }

            if (key.Length == 0)
            {
                errors.Add(FieldError.Required(at.Child("topologyKey"), EmptyKey));
            }
            else
            {
                Validating.Messages(errors, at.Child("topologyKey"), key, Names.IsQualifiedName(key));
            }

            Validating.OneOf(errors, at.Child("whenUnsatisfiable"), unsatisfiable, "DoNotSchedule", "ScheduleAnyway");
            if (!seen.Add((key, unsatisfiable)))
            {
                errors.Add(FieldError.Duplicate(at.Child("{topologyKey, whenUnsatisfiable}"), $"{{{key}, {unsatisfiable}}}"));
            }

            if (constraint.Long("minDomains") is <= 0 and var domains)
            {
                errors.Add(FieldError.Invalid(at.Child("minDomains"), domains, "must be greater than 0"));
            }

            errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(constraint.Obj("labelSelector"), at.Child("labelSelector")));
        }
    }

    private static void NodeAffinity(List<FieldError> errors, JsonObject affinity, FieldPath path)
    {
        if (affinity.Obj(Required) is { } required)
        {
            FieldPath terms = path.Child(Required, "nodeSelectorTerms");
            if (!required.HasItems("nodeSelectorTerms"))
            {
                errors.Add(FieldError.Required(terms, "must have at least one node selector term"));
            }

            int i = 0;
            foreach (JsonObject term in required.Items("nodeSelectorTerms"))
            {
                NodeTerm(errors, term, terms.Index(i++));
            }
        }

        int p = 0;
        foreach (JsonObject preference in affinity.Items(Preferred))
        {
            FieldPath at = path.Child(Preferred).Index(p++);
            Weight(errors, at, preference);
            NodeTerm(errors, preference.Obj("preference"), at.Child("preference"));
        }
    }

    private static void NodeTerm(List<FieldError> errors, JsonObject? term, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject expression in term.Items("matchExpressions"))
        {
            FieldPath at = path.Child("matchExpressions").Index(i++);
            int values = expression.Arr("values")?.Count ?? 0;
            switch (expression.Text("operator"))
            {
                case "In" or "NotIn" when values == 0:
                    errors.Add(FieldError.Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
                    break;
                case "Exists" or "DoesNotExist" when values > 0:
                    errors.Add(FieldError.Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
                    break;
                case "Gt" or "Lt" when values != 1:
                    errors.Add(FieldError.Required(at.Child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
                    break;
                case "In" or "NotIn" or "Exists" or "DoesNotExist" or "Gt" or "Lt":
                    break;
                case var other:
                    errors.Add(FieldError.Invalid(at.Child("operator"), other, "not a valid selector operator"));
                    break;
            }

            Validating.Messages(errors, at.Child("key"), expression.Text("key"), Names.IsQualifiedName(expression.Text("key")));
        }

        i = 0;
        foreach (JsonObject field in term.Items("matchFields"))
        {
            FieldPath at = path.Child("matchFields").Index(i++);
            if (field.Text("operator") is not ("In" or "NotIn"))
            {
                errors.Add(FieldError.Invalid(at.Child("operator"), field.Text("operator"), "not a valid selector operator"));
            }
            else if (field.Arr("values") is not { Count: 1 })
            {
                errors.Add(FieldError.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
            }

            if (field.Text("key") != "metadata.name")
            {
                errors.Add(FieldError.Invalid(at.Child("key"), field.Text("key"), "not a valid field selector key"));
            }
        }
    }

    private static void PodAffinity(List<FieldError> errors, JsonObject? affinity, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject term in affinity.Items(Required))
        {
            PodTerm(errors, term, path.Child(Required).Index(i++));
        }

        i = 0;
        foreach (JsonObject weighted in affinity.Items(Preferred))
        {
            FieldPath at = path.Child(Preferred).Index(i++);
            Weight(errors, at, weighted);
            PodTerm(errors, weighted.Obj("podAffinityTerm"), at.Child("podAffinityTerm"));
        }
    }

    private static void PodTerm(List<FieldError> errors, JsonObject? term, FieldPath path)
    {
        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(term.Obj("labelSelector"), path.Child("labelSelector")));
        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(term.Obj("namespaceSelector"), path.Child("namespaceSelector")));
        int i = 0;
        foreach (string name in term.Texts("namespaces"))
        {
            Validating.Messages(errors, path.Child("namespaces").Index(i++), name, Names.IsDns1123Label(name));
        }

        string key = term.Text("topologyKey");
        if (key.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("topologyKey"), EmptyKey));
        }
        else
        {
            Validating.Messages(errors, path.Child("topologyKey"), key, Names.IsQualifiedName(key));
        }
    }

    private static void Weight(List<FieldError> errors, FieldPath path, JsonObject weighted)
    {
        long weight = weighted.Long("weight") ?? 0;
        if (weight is < 1 or > 100)
        {
            errors.Add(FieldError.Invalid(path.Child("weight"), weight, "must be in the range 1-100"));
        }
    }
}

using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Requests and limits (core validation: ValidateContainerResourceRequirements).</summary>
internal static class ResourceValidation
{
    private const string NotStandard = "must be a standard resource type or fully qualified";
    private const string NotForContainers = "must be a standard resource for containers";

    public static void Requirements(List<FieldError> errors, JsonObject? requirements, FieldPath path)
    {
        FieldPath limitsPath = path.Child("limits");
        FieldPath requestsPath = path.Child("requests");
        JsonObject? limits = requirements.Obj("limits");
        JsonObject? requests = requirements.Obj("requests");
        List(errors, limits, limitsPath);
        List(errors, requests, requestsPath);
        foreach ((string name, JsonNode? _) in requests ?? [])
        {
            if (!Quantities.TryGet(requests, name, out Quantity request))
            {
                continue;
            }

            bool overcommit = MayBeOvercommitted(name);
            if (Quantities.TryGet(limits, name, out Quantity limit))
            {
                int order = request.CompareTo(limit);
                if (order != 0 && !overcommit)
                {
                    errors.Add(FieldError.Invalid(requestsPath, request.ToString(), $"must be equal to {name} limit of {limit}"));
                }
                else if (order > 0)
                {
                    errors.Add(FieldError.Invalid(requestsPath, request.ToString(), $"must be less than or equal to {name} limit of {limit}"));
                }
            }
            else if (!overcommit)
            {
                errors.Add(FieldError.Required(limitsPath, "Limit must be set for non overcommitable resources"));
            }
        }
    }

    public static void Overhead(List<FieldError> errors, JsonObject? overhead, FieldPath path) => List(errors, overhead, path);

    private static void List(List<FieldError> errors, JsonObject? list, FieldPath path)
    {
        foreach ((string name, JsonNode? value) in list ?? [])
        {
            FieldPath at = path.Key(name);
            Name(errors, at, name);
            if (!Quantities.TryGet(list, name, out Quantity quantity))
            {
                errors.Add(FieldError.Invalid(at, value, "must be a valid resource quantity"));
            }
            else if (quantity.Sign < 0)
            {
                errors.Add(FieldError.Invalid(at, quantity.ToString(), Validating.NotNegative));
            }
            else if (name.Contains('/') && quantity.MilliValue % 1000 != 0)
            {
                errors.Add(FieldError.Invalid(at, quantity.ToString(), "must be an integer"));
            }
        }
    }

    private static void Name(List<FieldError> errors, FieldPath path, string name)
    {
        IReadOnlyList<string> faults = Names.IsQualifiedName(name);
        Validating.Messages(errors, path, name, faults);
        if (faults.Count > 0 || name.Contains('/'))
        {
            return;
        }

        if (!IsStandardForContainers(name))
        {
            if (!IsStandard(name))
            {
                errors.Add(FieldError.Invalid(path, name, NotStandard));
            }

            errors.Add(FieldError.Invalid(path, name, NotForContainers));
        }
    }

    /// <summary>What a quota may bound without a domain in its name (core helper: IsStandardQuotaResourceName).</summary>
    public static bool IsStandardForQuota(string name) => IsStandard(name) || name.StartsWith("count/", StringComparison.Ordinal);

    /// <summary>Things that come one by one (core helper: IsIntegerResourceName).</summary>
    public static bool IsCounted(string name) => name is "pods" or "services" or "replicationcontrollers" or "resourcequotas" or "secrets" or "configmaps"
        or "persistentvolumeclaims" or "services.nodeports" or "services.loadbalancers" || name.StartsWith("count/", StringComparison.Ordinal);

    private static bool IsStandardForContainers(string name) =>
        name is "cpu" or "memory" or "ephemeral-storage" || name.StartsWith("hugepages-", StringComparison.Ordinal);

    private static bool IsStandard(string name) => IsStandardForContainers(name)
        || name is "storage" or "pods" or "services" or "replicationcontrollers" or "resourcequotas" or "secrets" or "configmaps"
            or "persistentvolumeclaims" || name.StartsWith("requests.", StringComparison.Ordinal)
        || name.StartsWith("limits.", StringComparison.Ordinal) || name.StartsWith("services.", StringComparison.Ordinal);

    /// <summary>Native resources may be promised beyond what there is; extended ones and huge pages may not.</summary>
    private static bool MayBeOvercommitted(string name) =>
        !name.StartsWith("hugepages-", StringComparison.Ordinal) && (!name.Contains('/') || name.Contains("kubernetes.io/", StringComparison.Ordinal));
}

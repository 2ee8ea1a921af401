using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 ResourceQuota and LimitRange (core validation: ValidateResourceQuota, ValidateLimitRange).</summary>
internal static class QuotaResources
{
    private static readonly FieldPath Spec = FieldPath.New("spec");
    private static readonly string[] Lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

    public static ResourceDefinition ResourceQuota { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "ResourceQuota",
        Plural = "resourcequotas",
        Singular = "resourcequota",
        ShortNames = ["quota"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.ResourceQuota",
        StorageKey = "resourcequotas",
        ReturnDeletedObject = true,
        Default = static o =>
        {
            Quantities.Canonicalize(o.Ensure("spec").Obj("hard"));
            Quantities.Canonicalize(o.Ensure("status").Obj("hard"));
            Quantities.Canonicalize(o.Obj("status").Obj("used"));
        },
        PrepareForCreate = static (o, _) => o["status"] = new JsonObject(),
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = Quota,
        ValidateUpdate = static (updated, old) =>
        {
            List<FieldError> errors = [];
            if (!updated.Obj("spec")?["scopes"].SameAs(old.Obj("spec")?["scopes"]) == true)
            {
                errors.Add(FieldError.Invalid(FieldPath.New("scopes"), updated.Obj("spec")?["scopes"], Validating.FieldIsImmutable));
            }

            return errors;
        },
        Subresources = [Strategies.Status("v1 ResourceQuota", validate: QuotaStatus)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Request", "Requests used and allowed."),
            Columns.Text("Limit", "Limits used and allowed."),
            Columns.Age,
        ],
        Row = static (o, now) => [Columns.NameOf(o), Used(o, limits: false), Used(o, limits: true), HumanDuration.Age(o, now)],
    };

    public static ResourceDefinition LimitRange { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "LimitRange",
        Plural = "limitranges",
        Singular = "limitrange",
        ShortNames = ["limits"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.LimitRange",
        StorageKey = "limitranges",
        ReturnDeletedObject = true,
        Default = LimitDefault,
        Validate = Limits,
        Columns = [Columns.Name, Columns.Text("Created At", "When the object was created.")],
        Row = static (o, _) => [Columns.NameOf(o), o.Get("metadata").Text("creationTimestamp")],
    };

    /// <summary>For containers a maximum is also the default limit, and that the default request (core/v1 SetDefaults_LimitRangeItem).</summary>
    private static void LimitDefault(JsonObject o)
    {
        foreach (JsonObject limit in o.Ensure("spec").Items("limits"))
        {
            foreach (string list in Lists)
            {
                Quantities.Canonicalize(limit.Obj(list));
            }

            if (limit.Text("type") != "Container")
            {
                continue;
            }

            Fill(limit.Ensure("default"), limit.Obj("max"));
            Fill(limit.Ensure("defaultRequest"), limit.Obj("default"));
            Fill(limit.Ensure("defaultRequest"), limit.Obj("min"));
        }
    }

    private static void Fill(JsonObject to, JsonObject? from)
    {
        foreach ((string name, JsonNode? value) in from ?? [])
        {
            if (!to.Has(name))
            {
                to[name] = value?.DeepClone();
            }
        }
    }

    private static List<FieldError> Quota(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        Amounts(errors, spec.Obj("hard"), Spec.Child("hard"));
        string[] scopes = [.. spec.Texts("scopes")];
        foreach (string scope in scopes)
        {
            if (scope is not ("Terminating" or "NotTerminating" or "BestEffort" or "NotBestEffort" or "PriorityClass" or "CrossNamespacePodAffinity"))
            {
                errors.Add(FieldError.Invalid(Spec.Child("scopes"), spec.Arr("scopes"), "unsupported scope"));
            }
        }

        if ((scopes.Contains("Terminating") && scopes.Contains("NotTerminating")) || (scopes.Contains("BestEffort") && scopes.Contains("NotBestEffort")))
        {
            errors.Add(FieldError.Invalid(Spec.Child("scopes"), spec.Arr("scopes"), "conflicting scopes"));
        }

        return errors;
    }

    private static List<FieldError> QuotaStatus(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        Amounts(errors, updated.Obj("status").Obj("hard"), FieldPath.New("status", "hard"));
        Amounts(errors, updated.Obj("status").Obj("used"), FieldPath.New("status", "used"));
        return errors;
    }

    private static void Amounts(List<FieldError> errors, JsonObject? list, FieldPath path)
    {
        foreach (string name in list?.Select(p => p.Key) ?? [])
        {
            FieldPath at = path.Key(name);
            IReadOnlyList<string> faults = Names.IsQualifiedName(name);
            Validating.Messages(errors, at, name, faults);
            if (faults.Count == 0 && !name.Contains('/') && !ResourceValidation.IsStandardForQuota(name))
            {
                errors.Add(FieldError.Invalid(at, name, "must be a standard resource for quota"));
            }

            if (!Quantities.TryGet(list, name, out Quantity quantity))
            {
                continue;
            }

            if (quantity.Sign < 0)
            {
                errors.Add(FieldError.Invalid(at, quantity.ToString(), Validating.NotNegative));
            }
            else if (ResourceValidation.IsCounted(name) && quantity.MilliValue % 1000 != 0)
            {
                errors.Add(FieldError.Invalid(at, quantity.ToString(), "must be an integer"));
            }
        }
    }

    private static List<FieldError> Limits(JsonObject o)
    {
        List<FieldError> errors = [];
        HashSet<string> types = new(StringComparer.Ordinal);
        int i = 0;
        foreach (JsonObject limit in o.Obj("spec").Items("limits"))
        {
            FieldPath path = Spec.Child("limits").Index(i++);
            string type = limit.Text("type");
            IReadOnlyList<string> faults = Names.IsQualifiedName(type);
            Validating.Messages(errors, path.Child("type"), type, faults);
            if (faults.Count == 0 && !type.Contains('/') && type is not ("Pod" or "Container" or "PersistentVolumeClaim"))
            {
                errors.Add(FieldError.Invalid(path.Child("type"), type, "must be a standard limit type or fully qualified"));
            }

            if (!types.Add(type))
            {
                errors.Add(FieldError.Duplicate(path.Child("type"), type));
            }

            if (type == "Pod")
            {
                foreach (string field in new[] { "default", "defaultRequest" })
                {
                    if (limit.Obj(field) is { Count: > 0 })
                    {
                        errors.Add(FieldError.Forbidden(path.Child(field), "may not be specified when `type` is 'Pod'"));
                    }
                }
            }

            if (type == "PersistentVolumeClaim" && !limit.Obj("min").Has("storage") && !limit.Obj("max").Has("storage"))
            {
                errors.Add(FieldError.Required(path.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"));
            }

            Order(errors, limit, path);
        }

        return errors;
    }

    private static void Order(List<FieldError> errors, JsonObject limit, FieldPath path)
    {
        SortedSet<string> names = new(Lists.SelectMany(l => limit.Obj(l)?.Select(p => p.Key) ?? []), StringComparer.Ordinal);
        foreach (string name in names)
        {
            Compare(errors, limit, path, name, "min", "max", "min", "min value {0} is greater than max value {1}");
            Compare(errors, limit, path, name, "min", "defaultRequest", "defaultRequest", "min value {0} is greater than default request value {1}");
            Compare(errors, limit, path, name, "defaultRequest", "max", "defaultRequest", "default request value {0} is greater than max value {1}");
            Compare(errors, limit, path, name, "defaultRequest", "default", "defaultRequest", "default request value {0} is greater than default limit value {1}");
            Compare(errors, limit, path, name, "min", "default", "default", "min value {0} is greater than default value {1}");
            Compare(errors, limit, path, name, "default", "max", "default", "default value {0} is greater than max value {1}");
        }
    }

    private static void Compare(
        List<FieldError> errors, JsonObject limit, FieldPath path, string name, string smaller, string larger, string blamed, string words)
    {
        if (Quantities.TryGet(limit.Obj(smaller), name, out Quantity low) && Quantities.TryGet(limit.Obj(larger), name, out Quantity high)
            && low.CompareTo(high) > 0)
        {
            string shown = blamed == smaller ? low.ToString() : (larger == "default" ? low : high).ToString();
            string text = words.Replace("{0}", low.ToString(), StringComparison.Ordinal).Replace("{1}", high.ToString(), StringComparison.Ordinal);
            errors.Add(FieldError.Invalid(path.Child(blamed).Key(name), shown, text));
        }
    }

    private static string Used(JsonElement o, bool limits)
    {
        JsonElement status = o.Get("status");
        return string.Join(", ", status.TextMap("hard").Where(h => h.Key.StartsWith("limits.", StringComparison.Ordinal) == limits)
            .OrderBy(h => h.Key, StringComparer.Ordinal)
            .Select(h => $"{h.Key}: {status.TextMap("used").GetValueOrDefault(h.Key, "0")}/{h.Value}"));
    }
}

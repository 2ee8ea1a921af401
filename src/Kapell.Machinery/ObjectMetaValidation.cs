using System.Text.Json.Nodes;

namespace Kapell.Machinery;

/// <summary>Messages about a name, none when it is good; <paramref name="prefix"/> says that more will be appended (generateName).</summary>
public delegate IReadOnlyList<string> NameCheck(string name, bool prefix);

/// <summary>The name checks of upstream's resources (apimachinery api/validation generic.go).</summary>
public static class NameChecks
{
    public static NameCheck Dns1123Subdomain { get; } = (name, prefix) => Names.IsDns1123Subdomain(Mask(name, prefix));

    public static NameCheck Dns1123Label { get; } = (name, prefix) => Names.IsDns1123Label(Mask(name, prefix));

    public static NameCheck Dns1035Label { get; } = (name, prefix) => Names.IsDns1035Label(Mask(name, prefix));

    public static NameCheck PathSegment { get; } = (name, prefix) => prefix ? Names.IsPathSegmentPrefix(name) : Names.IsPathSegment(name);

    // A trailing dash is fine in a prefix: something follows it. Upstream cuts one character more than it adds; nobody can tell.
    private static string Mask(string name, bool prefix) =>
        prefix && name.Length > 1 && name.EndsWith('-') ? name[..^2] + "a" : name;
}

/// <summary>
/// Validation of <c>metadata</c> that is the same for every kind (apimachinery api/validation objectmeta.go). The given object's
/// field types must already match the schema; what is of another type is treated as absent.
/// </summary>
public static class ObjectMetaValidation
{
    public const int AnnotationBytesMax = 256 * 1024;

    /// <param name="metadata">The <c>metadata</c> object itself, after name generation.</param>
    public static List<FieldError> Validate(JsonObject metadata, bool namespaced, NameCheck nameCheck, FieldPath path)
    {
        List<FieldError> errors = [];
        string generateName = metadata.Text("generateName");
        string name = metadata.Text("name");
        if (generateName.Length > 0)
        {
            errors.AddRange(nameCheck(generateName, true).Select(m => FieldError.Invalid(path.Child("generateName"), generateName, m)));
        }

        if (name.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("name"), "name or generateName is required"));
        }

        errors.AddRange(name.Length == 0 ? [] : nameCheck(name, false).Select(m => FieldError.Invalid(path.Child("name"), name, m)));
        ValidateNamespace(metadata, namespaced, path.Child("namespace"), errors);
        ValidateGeneration(metadata, path, errors);
        errors.AddRange(ValidateLabels(metadata["labels"] as JsonObject, path.Child("labels")));
        errors.AddRange(ValidateAnnotations(metadata["annotations"] as JsonObject, path.Child("annotations")));
        ValidateOwners(metadata["ownerReferences"] as JsonArray, path.Child("ownerReferences"), errors);
        ValidateFinalizers(metadata["finalizers"] as JsonArray, path.Child("finalizers"), errors);
        ValidateManagedFields(metadata["managedFields"] as JsonArray, path.Child("managedFields"), errors);
        return errors;
    }

    /// <summary>What may not change, and what a change must look like.</summary>
    public static List<FieldError> ValidateUpdate(JsonObject metadata, JsonObject old, FieldPath path)
    {
        List<FieldError> errors = [];
        if (old["deletionTimestamp"] is not null)
        {
            string[] before = [.. Texts(old["finalizers"] as JsonArray)];
            string[] extra = [.. Texts(metadata["finalizers"] as JsonArray).Except(before).Order(StringComparer.Ordinal)];
            if (extra.Length > 0)
            {
                string shown = "[]string{" + string.Join(", ", extra.Select(e => "\"" + e + "\"")) + "}";
                errors.Add(FieldError.Forbidden(path.Child("finalizers"),
                    "no new finalizers can be added if the object is being deleted, found new finalizers " + shown));
            }
        }

        if (metadata.Text("resourceVersion").Length == 0)
        {
            errors.Add(FieldError.Invalid(path.Child("resourceVersion"), "", "must be specified for an update"));
        }

        ValidateGeneration(metadata, path, errors);
        if (metadata.Long("generation") < old.Long("generation"))
        {
            errors.Add(FieldError.Invalid(path.Child("generation"), metadata.Long("generation"), "must not be decremented"));
        }

        foreach (string field in (ReadOnlySpan<string>)
            ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"])
        {
            JsonNode? value = metadata[field];
            if (!JsonNode.DeepEquals(value, old[field]) && !(IsEmptyText(value) && IsEmptyText(old[field])))
            {
                bool text = field is "name" or "namespace" or "uid";
                errors.Add(FieldError.Invalid(path.Child(field), value is null && text ? "" : value, "field is immutable"));
            }
        }

        errors.AddRange(ValidateLabels(metadata["labels"] as JsonObject, path.Child("labels")));
        errors.AddRange(ValidateAnnotations(metadata["annotations"] as JsonObject, path.Child("annotations")));
        ValidateOwners(metadata["ownerReferences"] as JsonArray, path.Child("ownerReferences"), errors);
        ValidateManagedFields(metadata["managedFields"] as JsonArray, path.Child("managedFields"), errors);
        return errors;
    }

    /// <summary>Also for pod templates' and selectors' labels.</summary>
    public static List<FieldError> ValidateLabels(JsonObject? labels, FieldPath path)
    {
        List<FieldError> errors = [];
        foreach ((string key, JsonNode? node) in labels ?? [])
        {
            errors.AddRange(Names.IsQualifiedName(key).Select(m => FieldError.Invalid(path, key, m)));
            string value = (node.AsText() ?? "");
            errors.AddRange(Names.IsLabelValue(value).Select(m => FieldError.Invalid(path, value, m)));
        }

        return errors;
    }

    public static List<FieldError> ValidateAnnotations(JsonObject? annotations, FieldPath path)
    {
        List<FieldError> errors = [];
        long bytes = 0;
        foreach ((string key, JsonNode? node) in annotations ?? [])
        {
            errors.AddRange(Names.IsQualifiedName(key.ToLowerInvariant()).Select(m => FieldError.Invalid(path, key, m)));
            bytes += System.Text.Encoding.UTF8.GetByteCount(key) + System.Text.Encoding.UTF8.GetByteCount((node.AsText() ?? ""));
        }

        if (bytes > AnnotationBytesMax)
        {
            errors.Add(FieldError.TooLong(path, AnnotationBytesMax));
        }

        return errors;
    }

    /// <summary>metav1/validation ValidateLabelSelector: for spec.selector of workloads.</summary>
    public static List<FieldError> ValidateLabelSelector(JsonObject? selector, FieldPath path)
    {
        List<FieldError> errors = ValidateLabels(selector?["matchLabels"] as JsonObject, path.Child("matchLabels"));
        JsonArray expressions = selector?["matchExpressions"] as JsonArray ?? [];
        for (int i = 0; i < expressions.Count; i++)
        {
            if (expressions[i] is not JsonObject expression)
            {
                continue;
            }

            FieldPath at = path.Child("matchExpressions").Index(i);
            string[] values = [.. Texts(expression["values"] as JsonArray)];
            string op = expression.Text("operator");
            if (op is "In" or "NotIn" && values.Length == 0)
            {
                errors.Add(FieldError.Required(at.Child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
            }
            else if (op is "Exists" or "DoesNotExist" && values.Length > 0)
            {
                errors.Add(FieldError.Forbidden(at.Child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            else if (op is not ("In" or "NotIn" or "Exists" or "DoesNotExist"))
            {
                errors.Add(FieldError.Invalid(at.Child("operator"), op, "not a valid selector operator"));
            }

            string key = expression.Text("key");
            errors.AddRange(Names.IsQualifiedName(key).Select(m => FieldError.Invalid(at.Child("key"), key, m)));
            for (int v = 0; v < values.Length; v++)
            {
                FieldPath valuePath = at.Child("values").Index(v);
                errors.AddRange(Names.IsLabelValue(values[v]).Select(m => FieldError.Invalid(valuePath, values[v], m)));
            }
        }

        return errors;
    }

    private static void ValidateNamespace(JsonObject metadata, bool namespaced, FieldPath path, List<FieldError> errors)
    {
        string value = metadata.Text("namespace");
        if (!namespaced && value.Length > 0)
        {
            errors.Add(FieldError.Forbidden(path, "not allowed on this type"));
        }
        else if (namespaced && value.Length == 0)
        {
            errors.Add(FieldError.Required(path, ""));
        }
        else if (namespaced)
        {
            errors.AddRange(Names.IsDns1123Label(value).Select(m => FieldError.Invalid(path, value, m)));
        }
    }

    private static void ValidateGeneration(JsonObject metadata, FieldPath path, List<FieldError> errors)
    {
        if (metadata.Long("generation") < 0)
        {
            errors.Add(FieldError.Invalid(path.Child("generation"), metadata.Long("generation"), "must be greater than or equal to 0"));
        }
    }

    private static void ValidateOwners(JsonArray? owners, FieldPath path, List<FieldError> errors)
    {
        string controller = "";
        for (int i = 0; i < (owners?.Count ?? 0); i++)
        {
            if (owners![i] is not JsonObject owner)
            {
                continue;
            }

            FieldPath at = path.Index(i);
            string apiVersion = owner.Text("apiVersion");
            string kind = owner.Text("kind");
            if (apiVersion.Length == 0)
            {
                errors.Add(FieldError.Required(at.Child("apiVersion"), "must not be empty"));
            }
            else if (apiVersion.Count(c => c == '/') > 1 || apiVersion.EndsWith('/'))
            {
                errors.Add(FieldError.Invalid(at.Child("apiVersion"), apiVersion, "must be <group>/<version> or <version>"));
            }

            foreach (string field in (ReadOnlySpan<string>)["kind", "name", "uid"])
            {
                if (owner.Text(field).Length == 0)
                {
                    errors.Add(FieldError.Required(at.Child(field), "must not be empty"));
                }
            }

            if (apiVersion == "v1" && kind == "Event")
            {
                errors.Add(FieldError.Invalid(at, owner, "/v1, Kind=Event is disallowed from being an owner"));
            }

            if (owner["controller"] is JsonValue flag && flag.TryGetValue(out bool isController) && isController)
            {
                string mine = kind + "/" + owner.Text("name");
                if (controller.Length > 0)
                {
                    errors.Add(FieldError.Invalid(path, owners,
                        $"Only one reference can have Controller set to true. Found \"true\" in references for {controller} and {mine}"));
                }
                else
                {
                    controller = mine;
                }
            }
        }
    }

    private static void ValidateFinalizers(JsonArray? finalizers, FieldPath path, List<FieldError> errors)
    {
        string[] names = [.. Texts(finalizers)];
        foreach (string name in names)
        {
            errors.AddRange(Names.IsQualifiedName(name).Select(m => FieldError.Invalid(path, name, m)));
        }

        if (names.Contains("orphan") && names.Contains("foregroundDeletion"))
        {
            errors.Add(FieldError.Invalid(path, finalizers, "finalizer foregroundDeletion and orphan cannot be both set"));
        }
    }

    private static void ValidateManagedFields(JsonArray? entries, FieldPath path, List<FieldError> errors)
    {
        for (int i = 0; i < (entries?.Count ?? 0); i++)
        {
            if (entries![i] is not JsonObject entry)
            {
                continue;
            }

            FieldPath at = path.Index(i);
            string operation = entry.Text("operation");
            if (operation.Length == 0)
            {
                errors.Add(FieldError.Required(at.Child("operation"), "must not be empty"));
            }
            else if (operation is not ("Apply" or "Update"))
            {
                errors.Add(FieldError.NotSupported(at.Child("operation"), operation, ["Apply", "Update"]));
            }

            string fieldsType = entry.Text("fieldsType");
            if (fieldsType.Length > 0 && fieldsType != "FieldsV1")
            {
                errors.Add(FieldError.Invalid(at.Child("fieldsType"), fieldsType, "must be `FieldsV1`"));
            }

            ValidateFieldManager(entry.Text("manager"), at.Child("manager"), errors);
            if (entry.Text("subresource").Length > 256)
            {
                errors.Add(FieldError.TooLong(at.Child("subresource"), 256));
            }
        }
    }

    /// <summary>The <c>fieldManager</c> of a request or of an entry: at most 128 bytes, printable.</summary>
    public static void ValidateFieldManager(string manager, FieldPath path, List<FieldError> errors)
    {
        if (System.Text.Encoding.UTF8.GetByteCount(manager) > 128)
        {
            errors.Add(FieldError.TooLong(path, 128));
        }

        int at = 0;
        foreach (System.Text.Rune rune in manager.EnumerateRunes())
        {
            if (System.Text.Rune.IsControl(rune) || (System.Text.Rune.IsWhiteSpace(rune) && rune.Value != ' '))
            {
                errors.Add(FieldError.Invalid(path, manager, $"invalid character U+{rune.Value:X4} (at position {at})"));
            }

            at += rune.Utf8SequenceLength;
        }
    }

    private static bool IsEmptyText(JsonNode? node) => node is null || node.AsText() is { Length: 0 };

    private static IEnumerable<string> Texts(JsonArray? array) => array?.Select(n => n.AsText() ?? "") ?? [];
}

using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Environment of a container (core validation: ValidateEnv, ValidateEnvFrom).</summary>
internal static class EnvValidation
{
    private const string TooManySources = "may not have more than one field specified at a time";
    private static readonly string[] Sources = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

    private static readonly string[] EnvFields =
    [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    ];

    private static readonly string[] Resources =
    [
        "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory",
    ];

    public static void Validate(List<FieldError> errors, JsonObject container, FieldPath path)
    {
        int i = 0;
        foreach (JsonObject variable in container.Items("env"))
        {
            FieldPath at = path.Child("env").Index(i++);
            Validating.RequiredName(errors, at.Child("name"), variable.Text("name"), Names.IsRelaxedEnvVarName);
            if (variable.Obj("valueFrom") is { } source)
            {
                ValueFrom(errors, at.Child("valueFrom"), variable, source);
            }
        }

        i = 0;
        foreach (JsonObject source in container.Items("envFrom"))
        {
            EnvFrom(errors, path.Child("envFrom"), i++, source);
        }
    }

    /// <summary>A field of the pod named by an environment variable.</summary>
    private static void FieldRef(List<FieldError> errors, FieldPath path, JsonObject selector)
    {
        string field = selector.Text("fieldPath");
        Validating.RequiredText(errors, path, selector, "apiVersion");
        if (field.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("fieldPath"), ""));
            return;
        }

        if (EnvFields.Contains(field))
        {
            return;
        }

        int bracket = field.IndexOf("['", StringComparison.Ordinal);
        if (bracket > 0 && field.EndsWith("']", StringComparison.Ordinal) && field[..bracket] is "metadata.labels" or "metadata.annotations")
        {
            string key = field[(bracket + 2)..^2];
            Validating.Messages(errors, path, key, Names.IsQualifiedName(key));
        }
        else if (field is "metadata.labels" or "metadata.annotations")
        {
            errors.Add(FieldError.NotSupported(path.Child("fieldPath"), field, EnvFields));
        }
        else
        {
            errors.Add(FieldError.Invalid(
                path.Child("fieldPath"), field, "error converting fieldPath: field label not supported: " + field));
        }
    }

    private static void ValueFrom(List<FieldError> errors, FieldPath path, JsonObject variable, JsonObject source)
    {
        if (source.Obj("fieldRef") is { } field)
        {
            FieldRef(errors, path.Child("fieldRef"), field);
        }

        if (source.Obj("resourceFieldRef") is { } resource)
        {
            FieldPath at = path.Child("resourceFieldRef", "resource");
            string name = resource.Text("resource");
            if (name.Length == 0)
            {
                errors.Add(FieldError.Required(at, ""));
            }
            else if (!name.StartsWith("limits.hugepages-", StringComparison.Ordinal) && !name.StartsWith("requests.hugepages-", StringComparison.Ordinal))
            {
                Validating.OneOf(errors, at, name, Resources);
            }
        }

        foreach (string kind in new[] { "configMapKeyRef", "secretKeyRef" })
        {
            if (source.Obj(kind) is { } reference)
            {
                string name = reference.Text("name");
                Validating.Messages(errors, path.Child(kind, "name"), name, Names.IsDns1123Subdomain(name));
                Validating.RequiredName(errors, path.Child(kind, "key"), reference.Text("key"), Names.IsConfigMapKey);
            }
        }

        int count = Sources.Count(s => source.Has(s));
        if (count == 0)
        {
            errors.Add(FieldError.Invalid(path, "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"));
        }

        if (variable.Text("value").Length > 0 && count > 0)
        {
            errors.Add(FieldError.Invalid(path, "", "may not be specified when `value` is not empty"));
        }
        else if (count > 1)
        {
            errors.Add(FieldError.Invalid(path, "", TooManySources));
        }
    }

    private static void EnvFrom(List<FieldError> errors, FieldPath listPath, int index, JsonObject source)
    {
        FieldPath path = listPath.Index(index);
        if (source.Text("prefix") is { Length: > 0 } prefix)
        {
            Validating.Messages(errors, path.Child("prefix"), prefix, Names.IsRelaxedEnvVarName(prefix));
        }

        int count = 0;
        foreach (string kind in new[] { "configMapRef", "secretRef" })
        {
            if (source.Obj(kind) is { } reference)
            {
                count++;
                Validating.RequiredName(errors, path.Child(kind, "name"), reference.Text("name"), Names.IsDns1123Subdomain);
            }
        }

        // Upstream names the list here, not the item.
        if (count == 0)
        {
            errors.Add(FieldError.Invalid(listPath, "", "must specify one of: `configMapRef` or `secretRef`"));
        }
        else if (count > 1)
        {
            errors.Add(FieldError.Invalid(listPath, "", TooManySources));
        }
    }
}

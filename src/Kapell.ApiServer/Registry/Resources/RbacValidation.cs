using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>rbac.authorization.k8s.io (pkg/apis/rbac/validation).</summary>
internal static class RbacValidation
{
    public static List<FieldError> ClusterRole(JsonObject o)
    {
        List<FieldError> errors = Rules(o, namespaced: false);
        if (o.Obj("aggregationRule") is { } aggregation)
        {
            FieldPath path = FieldPath.New("aggregationRule", "clusterRoleSelectors");
            if (!aggregation.HasItems("clusterRoleSelectors"))
            {
                errors.Add(FieldError.Required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
            }

            int i = 0;
            foreach (JsonObject selector in aggregation.Items("clusterRoleSelectors"))
            {
                errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(selector, path.Index(i++)));
            }
        }

        return errors;
    }

    public static List<FieldError> Rules(JsonObject o, bool namespaced)
    {
        List<FieldError> errors = [];
        int i = 0;
        foreach (JsonObject rule in o.Items("rules"))
        {
            FieldPath path = FieldPath.New("rules").Index(i++);
            if (!rule.HasItems("verbs"))
            {
                errors.Add(FieldError.Required(path.Child("verbs"), "verbs must contain at least one value"));
            }

            if (rule.HasItems("nonResourceURLs"))
            {
                if (namespaced)
                {
                    errors.Add(FieldError.Invalid(
                        path.Child("nonResourceURLs"), rule["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs"));
                }

                if (rule.HasItems("apiGroups") || rule.HasItems("resources") || rule.HasItems("resourceNames"))
                {
                    errors.Add(FieldError.Invalid(
                        path.Child("nonResourceURLs"), rule["nonResourceURLs"], "rules cannot apply to both regular resources and non-resource URLs"));
                }

                continue;
            }

            if (!rule.HasItems("apiGroups"))
            {
                errors.Add(FieldError.Required(path.Child("apiGroups"), "resource rules must supply at least one api group"));
            }

            if (!rule.HasItems("resources"))
            {
                errors.Add(FieldError.Required(path.Child("resources"), "resource rules must supply at least one resource"));
            }
        }

        return errors;
    }

    public static List<FieldError> Binding(JsonObject o, bool namespaced)
    {
        List<FieldError> errors = [];
        JsonObject? role = o.Obj("roleRef");
        FieldPath path = FieldPath.New("roleRef");
        Validating.OneOf(errors, path.Child("apiGroup"), role.Text("apiGroup"), RoleResources.Group);
        string[] kinds = namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"];
        if (!kinds.Contains(role.Text("kind")))
        {
            errors.Add(FieldError.NotSupported(path.Child("kind"), role.Text("kind"), kinds));
        }

        Validating.RequiredName(errors, path.Child("name"), role.Text("name"), Names.IsPathSegment);
        int i = 0;
        foreach (JsonObject subject in o.Items("subjects"))
        {
            Subject(errors, FieldPath.New("subjects").Index(i++), subject, namespaced);
        }

        return errors;
    }

    public static List<FieldError> BindingUpdate(JsonObject updated, JsonObject old) =>
        updated["roleRef"].SameAs(old["roleRef"]) ? [] : [FieldError.Invalid(FieldPath.New("roleRef"), updated["roleRef"], "cannot change roleRef")];

    private static void Subject(List<FieldError> errors, FieldPath path, JsonObject subject, bool namespaced)
    {
        Validating.RequiredText(errors, path, subject, "name");
        string name = subject.Text("name");
        switch (subject.Text("kind"))
        {
            case "ServiceAccount":
                if (name.Length > 0)
                {
                    Validating.Messages(errors, path.Child("name"), name, Names.IsDns1123Subdomain(name));
                }

                Validating.OneOf(errors, path.Child("apiGroup"), subject.Text("apiGroup"), "");
                if (!namespaced)
                {
                    Validating.RequiredText(errors, path, subject, "namespace");
                }

                break;
            case "User" or "Group":
                if (name.Length == 0)
                {
                    errors.Add(FieldError.Invalid(path.Child("name"), name, subject.Text("kind").ToLowerInvariant() + " name cannot be empty"));
                }

                Validating.OneOf(errors, path.Child("apiGroup"), subject.Text("apiGroup"), RoleResources.Group);
                break;
            case var other:
                errors.Add(FieldError.NotSupported(path.Child("kind"), other, ["ServiceAccount", "User", "Group"]));
                break;
        }
    }
}

using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources.Pods;

/// <summary>Security contexts of pods and containers (core validation: ValidateSecurityContext, validatePodSpecSecurityContext).</summary>
internal static class SecurityContextValidation
{
    public static void Pod(List<FieldError> errors, JsonObject spec, FieldPath specPath)
    {
        FieldPath path = specPath.Child("securityContext");
        if (spec.Bool("shareProcessNamespace") == true && spec.Bool("hostPID") == true)
        {
            errors.Add(FieldError.Invalid(path.Child("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled"));
        }

        JsonObject? context = spec.Obj("securityContext");
        foreach (string field in new[] { "fsGroup", "runAsUser", "runAsGroup" })
        {
            Id(errors, path.Child(field), context.Long(field));
        }

        int i = 0;
        foreach (JsonNode? group in context.Arr("supplementalGroups") ?? [])
        {
            Id(errors, path.Child("supplementalGroups").Index(i++), group.AsLong());
        }

        if (context.Has("fsGroupChangePolicy"))
        {
            Validating.OneOf(errors, path.Child("fsGroupChangePolicy"), context.Text("fsGroupChangePolicy"), "Always", "OnRootMismatch");
        }

        if (context.Has("supplementalGroupsPolicy"))
        {
            Validating.OneOf(errors, path.Child("supplementalGroupsPolicy"), context.Text("supplementalGroupsPolicy"), "Merge", "Strict");
        }

        Sysctls(errors, context, path.Child("sysctls"));
        Profile(errors, context.Obj("seccompProfile"), path.Child("seccompProfile"), "seccomp");
        Profile(errors, context.Obj("appArmorProfile"), path.Child("appArmorProfile"), "AppArmor");
    }

    public static void Container(List<FieldError> errors, JsonObject? context, FieldPath path)
    {
        if (context is null)
        {
            return;
        }

        Id(errors, path.Child("runAsUser"), context.Long("runAsUser"));
        Id(errors, path.Child("runAsGroup"), context.Long("runAsGroup"));
        if (context.Has("procMount"))
        {
            Validating.OneOf(errors, path.Child("procMount"), context.Text("procMount"), "Default", "Unmasked");
        }

        Profile(errors, context.Obj("seccompProfile"), path.Child("seccompProfile"), "seccomp");
        if (context.Bool("allowPrivilegeEscalation") == false)
        {
            if (context.Bool("privileged") == true)
            {
                errors.Add(FieldError.Invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
            }

            if (context.Obj("capabilities").Texts("add").Contains("CAP_SYS_ADMIN"))
            {
                errors.Add(FieldError.Invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"));
            }
        }

        Profile(errors, context.Obj("appArmorProfile"), path.Child("appArmorProfile"), "AppArmor");
    }

    private static void Id(List<FieldError> errors, FieldPath path, long? id)
    {
        if (id is < 0 or > int.MaxValue)
        {
            errors.Add(FieldError.Invalid(path, id, "must be between 0 and 2147483647, inclusive"));
        }
    }

    private static void Profile(List<FieldError> errors, JsonObject? profile, FieldPath path, string kind)
    {
        if (profile is null)
        {
            return;
        }

        string type = profile.Text("type");
        bool named = profile.Has("localhostProfile");
        if (type == "Localhost" && profile.Text("localhostProfile").Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("localhostProfile"), $"must be set when {kind} type is Localhost"));
        }
        else if (type != "Localhost" && named)
        {
            errors.Add(FieldError.Invalid(path.Child("localhostProfile"), profile.Text("localhostProfile"),
                $"can only be set when {kind} type is Localhost"));
        }

        if (type.Length == 0)
        {
            errors.Add(FieldError.Required(path.Child("type"), $"type is required when {kind}Profile is set"));
        }
        else
        {
            Validating.OneOf(errors, path.Child("type"), type, "Localhost", "RuntimeDefault", "Unconfined");
        }
    }

    private static void Sysctls(List<FieldError> errors, JsonObject? context, FieldPath path)
    {
        HashSet<string> names = new(StringComparer.Ordinal);
        int i = 0;
        foreach (string name in context.Items("sysctls").Select(s => s.Text("name")))
        {
            FieldPath at = path.Index(i++).Child("name");
            if (name.Length == 0)
            {
                errors.Add(FieldError.Required(at, ""));
            }
            else if (!names.Add(name))
            {
                errors.Add(FieldError.Duplicate(at, name));
            }
        }
    }
}

using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 workloads (pkg/apis/apps/validation).</summary>
internal static class WorkloadValidation
{
    private const string RollingUpdate = "RollingUpdate";
    private static readonly FieldPath Spec = FieldPath.New("spec");

    private static readonly string[] StatefulSetMutable =
        ["replicas", "ordinals", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds", "revisionHistoryLimit"];

    public static List<FieldError> Deployment(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        Validating.NotNegativeNumber(errors, Spec, spec, "replicas");
        SelectorAndTemplate(errors, spec, "deployment", "ReplicaSet");
        DeploymentStrategy(errors, Spec.Child("strategy"), spec.Obj("strategy"));
        Validating.NotNegativeNumber(errors, Spec, spec, "minReadySeconds");
        Validating.NotNegativeNumber(errors, Spec, spec, "revisionHistoryLimit");
        Validating.NotNegativeNumber(errors, Spec, spec, "progressDeadlineSeconds");
        if (spec.Long("progressDeadlineSeconds") is { } deadline && deadline <= (spec.Long("minReadySeconds") ?? 0))
        {
            errors.Add(FieldError.Invalid(Spec.Child("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds"));
        }

        return errors;
    }

    public static List<FieldError> ReplicaSet(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        Validating.NotNegativeNumber(errors, Spec, spec, "replicas");
        Validating.NotNegativeNumber(errors, Spec, spec, "minReadySeconds");
        // Upstream says "deployment" here too.
        SelectorAndTemplate(errors, spec, "deployment", "ReplicaSet");
        return errors;
    }

    public static List<FieldError> DaemonSet(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(spec.Obj("selector"), Spec.Child("selector")));
        JsonObject? template = spec.Obj("template");
        Validating.SelectorMatches(errors, Spec.Child("template", "metadata", "labels"), spec.Obj("selector"), template.Obj("metadata", "labels"));
        if (spec.Obj("selector") is { } selector && Validating.IsEmptySelector(selector))
        {
            errors.Add(FieldError.Invalid(Spec.Child("selector"), selector, "empty selector is invalid for daemonset"));
        }

        Template(errors, template, "DaemonSet");
        Validating.NotNegativeNumber(errors, Spec, spec, "minReadySeconds");
        DaemonSetStrategy(errors, Spec.Child("updateStrategy"), spec.Obj("updateStrategy"));
        Validating.NotNegativeNumber(errors, Spec, spec, "revisionHistoryLimit");
        return errors;
    }

    public static List<FieldError> StatefulSet(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        string policy = spec.Text("podManagementPolicy");
        if (policy is not ("OrderedReady" or "Parallel"))
        {
            errors.Add(FieldError.Invalid(Spec.Child("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'"));
        }

        StatefulSetStrategy(errors, Spec.Child("updateStrategy"), spec.Obj("updateStrategy"));
        FieldPath retentionPath = Spec.Child("persistentVolumeClaimRetentionPolicy");
        foreach (string when in new[] { "whenDeleted", "whenScaled" })
        {
            Validating.OneOf(errors, retentionPath.Child(when), spec.Obj("persistentVolumeClaimRetentionPolicy").Text(when), "Delete", "Retain");
        }

        Validating.NotNegativeNumber(errors, Spec, spec, "replicas");
        Validating.NotNegativeNumber(errors, Spec, spec, "minReadySeconds");
        Validating.NotNegativeNumber(errors, Spec.Child("ordinals"), spec.Obj("ordinals"), "start");
        SelectorAndTemplate(errors, spec, "statefulset", "StatefulSet");
        return errors;
    }

    public static List<FieldError> StatefulSetUpdate(JsonObject updated, JsonObject old)
    {
        JsonObject now = updated.Obj("spec")?.DeepClone().AsObject() ?? [];
        JsonObject before = old.Obj("spec")?.DeepClone().AsObject() ?? [];
        foreach (string field in StatefulSetMutable)
        {
            now.Remove(field);
            before.Remove(field);
        }

        return now.SameAs(before) ? [] : [FieldError.Forbidden(Spec, "updates to statefulset spec for fields other than 'replicas', "
            + "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            + "'minReadySeconds' are forbidden")];
    }

    public static List<FieldError> SelectorIsImmutable(JsonObject updated, JsonObject old)
    {
        List<FieldError> errors = [];
        Validating.Immutable(errors, Spec.Child("selector"), updated.Obj("spec")?["selector"], old.Obj("spec")?["selector"]);
        return errors;
    }

    private static void SelectorAndTemplate(List<FieldError> errors, JsonObject? spec, string emptyOf, string templateOf)
    {
        JsonObject? selector = spec.Obj("selector");
        if (selector is null)
        {
            errors.Add(FieldError.Required(Spec.Child("selector"), ""));
        }
        else
        {
            errors.AddRange(ObjectMetaValidation.ValidateLabelSelector(selector, Spec.Child("selector")));
            if (Validating.IsEmptySelector(selector))
            {
                errors.Add(FieldError.Invalid(Spec.Child("selector"), selector, $"empty selector is invalid for {emptyOf}"));
            }
        }

        if (!Validating.TrySelector(selector, out LabelSelector parsed))
        {
            errors.Add(FieldError.Invalid(Spec.Child("selector"), selector, "invalid label selector"));
            return;
        }

        JsonObject? template = spec.Obj("template");
        if (!parsed.IsEverything)
        {
            Validating.SelectorMatches(errors, Spec.Child("template", "metadata", "labels"), selector, template.Obj("metadata", "labels"));
        }

        Template(errors, template, templateOf);
    }

    /// <summary>A pod template whose pods are meant to run for ever.</summary>
    private static void Template(List<FieldError> errors, JsonObject? template, string kind)
    {
        FieldPath path = Spec.Child("template");
        PodTemplateValidation.Validate(errors, template, path);
        JsonObject? pod = template.Obj("spec");
        // A policy that is none at all has been refused already.
        if (pod.Text("restartPolicy") is "OnFailure" or "Never")
        {
            errors.Add(FieldError.NotSupported(path.Child("spec", "restartPolicy"), pod.Text("restartPolicy"), ["Always"]));
        }

        if (pod.Has("activeDeadlineSeconds"))
        {
            errors.Add(FieldError.Forbidden(path.Child("spec", "activeDeadlineSeconds"), $"activeDeadlineSeconds in {kind} is not Supported"));
        }
    }

    private static void DeploymentStrategy(List<FieldError> errors, FieldPath path, JsonObject? strategy)
    {
        JsonObject? rolling = strategy.Obj("rollingUpdate");
        switch (strategy.Text("type"))
        {
            case "Recreate" when rolling is not null:
                errors.Add(FieldError.Forbidden(path.Child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'"));
                break;
            case "Recreate":
                break;
            case RollingUpdate:
                FieldPath rollingPath = path.Child("rollingUpdate");
                Validating.NotNegativeIntOrPercent(errors, rollingPath.Child("maxUnavailable"), rolling?["maxUnavailable"]);
                Validating.NotNegativeIntOrPercent(errors, rollingPath.Child("maxSurge"), rolling?["maxSurge"]);
                if (Validating.IntOrPercentValue(rolling?["maxUnavailable"]) == 0 && Validating.IntOrPercentValue(rolling?["maxSurge"]) == 0)
                {
                    errors.Add(FieldError.Invalid(rollingPath.Child("maxUnavailable"), rolling?["maxUnavailable"], "may not be 0 when `maxSurge` is 0"));
                }

                Validating.NotOver100Percent(errors, rollingPath.Child("maxUnavailable"), rolling?["maxUnavailable"]);
                break;
            case var other:
                errors.Add(FieldError.NotSupported(path.Child("type"), other, ["Recreate", RollingUpdate]));
                break;
        }
    }

    private static void DaemonSetStrategy(List<FieldError> errors, FieldPath path, JsonObject? strategy)
    {
        string type = strategy.Text("type");
        if (type is not (RollingUpdate or "OnDelete"))
        {
            errors.Add(FieldError.NotSupported(path.Child("type"), type, [RollingUpdate, "OnDelete"]));
        }

        if (type != RollingUpdate)
        {
            return;
        }

        FieldPath rollingPath = path.Child("rollingUpdate");
        if (strategy.Obj("rollingUpdate") is not { } rolling)
        {
            errors.Add(FieldError.Required(rollingPath, ""));
            return;
        }

        foreach (string field in new[] { "maxUnavailable", "maxSurge" })
        {
            Validating.NotNegativeIntOrPercent(errors, rollingPath.Child(field), rolling[field]);
            Validating.NotOver100Percent(errors, rollingPath.Child(field), rolling[field]);
        }

        bool unavailable = Validating.IntOrPercentValue(rolling["maxUnavailable"]) > 0;
        bool surge = Validating.IntOrPercentValue(rolling["maxSurge"]) > 0;
        if (unavailable && surge)
        {
            errors.Add(FieldError.Invalid(rollingPath.Child("maxSurge"), rolling["maxSurge"], "may not be set when maxUnavailable is non-zero"));
        }
        else if (!unavailable && !surge)
        {
            errors.Add(FieldError.Required(rollingPath.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"));
        }
    }

    private static void StatefulSetStrategy(List<FieldError> errors, FieldPath path, JsonObject? strategy)
    {
        JsonObject? rolling = strategy.Obj("rollingUpdate");
        switch (strategy.Text("type"))
        {
            case "OnDelete" when rolling is not null:
                errors.Add(FieldError.Invalid(path.Child("rollingUpdate"), rolling, "only allowed for updateStrategy 'RollingUpdate'"));
                break;
            case "OnDelete":
                break;
            case RollingUpdate:
                Validating.NotNegativeNumber(errors, path.Child("rollingUpdate"), rolling, "partition");
                break;
            default:
                errors.Add(FieldError.Invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'"));
                break;
        }
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 PodTemplate and ReplicationController.</summary>
internal static class TemplateResources
{
    private static readonly FieldPath Spec = FieldPath.New("spec");

    public static ResourceDefinition PodTemplate { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "PodTemplate",
        Plural = "podtemplates",
        Singular = "podtemplate",
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.PodTemplate",
        StorageKey = "podtemplates",
        ReturnDeletedObject = true,
        Default = static o => PodDefaults.Template(o.Ensure("template")),
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = static (updated, old, _) => Strategies.CountGeneration(updated, old, updated["template"].SameAs(old["template"])),
        Validate = static o =>
        {
            List<FieldError> errors = [];
            PodTemplateValidation.Validate(errors, o.Obj("template"), FieldPath.New("template"));
            return errors;
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("Containers", "Names of each container in the template."),
            Columns.Text("Images", "Images referenced by each container in the template."),
            Columns.Text("Pod Labels", "The labels for the pod template."),
        ],
        Row = static (o, _) =>
        [
            Columns.NameOf(o), Columns.ContainerNames(o.Get("template", "spec")), Columns.ContainerImages(o.Get("template", "spec")),
            Columns.Labels(o.Get("template", "metadata").TextMap("labels")),
        ],
    };

    public static ResourceDefinition ReplicationController { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "ReplicationController",
        Plural = "replicationcontrollers",
        Singular = "replicationcontroller",
        ShortNames = ["rc"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.ReplicationController",
        StorageKey = "controllers",
        Default = ControllerDefault,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject { ["replicas"] = 0L };
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = ValidateController,
        Subresources = [ScaleView.Subresource, Strategies.Status("v1 ReplicationController", validate: StatusValidation.ReplicaSet)],
        SelectableFields = new Dictionary<string, Func<JsonElement, string>>
        {
            ["status.replicas"] = static o => o.Get("status").Long("replicas").ToString(),
        },
        Columns =
        [
            Columns.Name,
            Columns.Number("Desired", "Number of desired pods."),
            Columns.Number("Current", "Number of pods there are."),
            Columns.Number("Ready", "Number of ready pods."),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
            Columns.Selector,
        ],
        Row = static (o, now) =>
        {
            JsonElement pod = o.Get("spec", "template", "spec");
            return
            [
                Columns.NameOf(o), o.Get("spec").Long("replicas"), o.Get("status").Long("replicas"), o.Get("status").Long("readyReplicas"),
                HumanDuration.Age(o, now), Columns.ContainerNames(pod), Columns.ContainerImages(pod), Columns.Labels(o.Get("spec").TextMap("selector")),
            ];
        },
    };

    private static void ControllerDefault(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        if (spec.Obj("template", "metadata", "labels") is { Count: > 0 } labels)
        {
            if (spec.Obj("selector") is not { Count: > 0 })
            {
                spec["selector"] = labels.DeepClone();
            }

            if (o.Obj("metadata").Obj("labels") is not { Count: > 0 })
            {
                o.Ensure("metadata")["labels"] = labels.DeepClone();
            }
        }

        spec.Default("replicas", 1);
        PodDefaults.Template(spec.Obj("template"));
        o.Ensure("status").Default("replicas", 0);
    }

    private static List<FieldError> ValidateController(JsonObject o)
    {
        List<FieldError> errors = [];
        JsonObject? spec = o.Obj("spec");
        Validating.NotNegativeNumber(errors, Spec, spec, "minReadySeconds");
        JsonObject selector = spec.Obj("selector") ?? [];
        if (selector.Count == 0)
        {
            errors.Add(FieldError.Required(Spec.Child("selector"), ""));
        }

        Validating.NotNegativeNumber(errors, Spec, spec, "replicas");
        FieldPath path = Spec.Child("template");
        if (spec.Obj("template") is not { } template)
        {
            errors.Add(FieldError.Required(path, ""));
            return errors;
        }

        JsonObject? labels = template.Obj("metadata", "labels");
        if (selector.Any(s => labels.Text(s.Key) != s.Value.AsText()))
        {
            errors.Add(FieldError.Invalid(path.Child("metadata", "labels"), labels, "`selector` does not match template `labels`"));
        }

        PodTemplateValidation.Validate(errors, template, path);
        if (template.Obj("spec").Text("restartPolicy") is not ("Always" or ""))
        {
            errors.Add(FieldError.NotSupported(path.Child("spec", "restartPolicy"), template.Obj("spec").Text("restartPolicy"), ["Always"]));
        }

        if (template.Obj("spec").Has("activeDeadlineSeconds"))
        {
            errors.Add(FieldError.Forbidden(
                path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicationController is not Supported"));
        }

        return errors;
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 StatefulSet.</summary>
internal static class StatefulSetResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "apps",
        Version = "v1",
        Kind = "StatefulSet",
        Plural = "statefulsets",
        Singular = "statefulset",
        ShortNames = ["sts"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.apps.v1.StatefulSet",
        StorageKey = "statefulsets",
        Default = Default,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject { ["replicas"] = 0L, ["availableReplicas"] = 0L };
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = WorkloadValidation.StatefulSet,
        ValidateUpdate = WorkloadValidation.StatefulSetUpdate,
        Subresources = [ScaleView.Subresource, Strategies.Status("apps/v1 StatefulSet", validate: StatusValidation.StatefulSet)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Ready", "Number of the pod with ready state"),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
        ],
        Row = static (o, now) =>
        [
            Columns.NameOf(o),
            $"{o.Get("status").Long("readyReplicas")}/{o.Get("spec").Long("replicas")}",
            HumanDuration.Age(o, now),
            Columns.ContainerNames(o.Get("spec", "template", "spec")),
            Columns.ContainerImages(o.Get("spec", "template", "spec")),
        ],
    };

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        spec.DefaultText("podManagementPolicy", "OrderedReady");
        JsonObject strategy = spec.Ensure("updateStrategy");
        if (strategy.Text("type").Length == 0)
        {
            strategy["type"] = "RollingUpdate";
            strategy.Ensure("rollingUpdate").Default("partition", 0);
        }
        else if (strategy.Text("type") == "RollingUpdate")
        {
            strategy.Obj("rollingUpdate")?.Default("partition", 0);
        }

        JsonObject retention = spec.Ensure("persistentVolumeClaimRetentionPolicy");
        retention.DefaultText("whenDeleted", "Retain");
        retention.DefaultText("whenScaled", "Retain");
        spec.Default("replicas", 1);
        spec.Default("revisionHistoryLimit", 10);
        PodDefaults.Template(spec.Obj("template"));
        foreach (JsonObject claim in spec.Items("volumeClaimTemplates"))
        {
            claim["apiVersion"] = "v1";
            claim["kind"] = "PersistentVolumeClaim";
            VolumeDefaults.ClaimSpec(claim.Ensure("spec"));
            claim.Ensure("status").DefaultText("phase", "Pending");
        }

        o.Ensure("status").Default("replicas", 0);
        o["status"]!.AsObject().Default("availableReplicas", 0);
    }
}

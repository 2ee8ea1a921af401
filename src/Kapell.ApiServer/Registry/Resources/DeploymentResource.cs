using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 Deployment.</summary>
internal static class DeploymentResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "apps",
        Version = "v1",
        Kind = "Deployment",
        Plural = "deployments",
        Singular = "deployment",
        ShortNames = ["deploy"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.apps.v1.Deployment",
        StorageKey = "deployments",
        Default = Default,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject();
        },
        PrepareForUpdate = PrepareForUpdate,
        Validate = WorkloadValidation.Deployment,
        ValidateUpdate = WorkloadValidation.SelectorIsImmutable,
        Subresources = [ScaleView.Subresource, Strategies.Status("apps/v1 Deployment", Strategies.UpdateStatusKeepingLabels, StatusValidation.Deployment)],
        Columns =
        [
            Columns.Name,
            Columns.Text("Ready", "Number of the pod with ready state"),
            Columns.Number("Up-to-date", "Number of pods of the newest template."),
            Columns.Number("Available", "Number of available pods."),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
            Columns.Selector,
        ],
        Row = Row,
    };

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        spec.Default("replicas", 1);
        spec.Default("revisionHistoryLimit", 10);
        spec.Default("progressDeadlineSeconds", 600);
        JsonObject strategy = spec.Ensure("strategy");
        strategy.DefaultText("type", "RollingUpdate");
        if (strategy.Text("type") == "RollingUpdate")
        {
            JsonObject rolling = strategy.Ensure("rollingUpdate");
            rolling.Default("maxUnavailable", "25%");
            rolling.Default("maxSurge", "25%");
        }

        PodDefaults.Template(spec.Obj("template"));
        o.Ensure("status");
    }

    private static void PrepareForUpdate(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        // Annotations count here: the controller copies them to its replica sets (upstream: deployment strategy).
        updated.TakeFrom("status", old);
        bool same = updated["spec"].SameAs(old["spec"])
            && (updated.Obj("metadata").Obj("annotations") ?? []).SameAs(old.Obj("metadata").Obj("annotations") ?? []);
        Strategies.CountGeneration(updated, old, same);
    }

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement status = o.Get("status");
        JsonElement pod = spec.Get("template", "spec");
        return
        [
            Columns.NameOf(o),
            $"{status.Long("readyReplicas")}/{spec.Long("replicas")}",
            status.Long("updatedReplicas"),
            status.Long("availableReplicas"),
            HumanDuration.Age(o, now),
            Columns.ContainerNames(pod),
            Columns.ContainerImages(pod),
            Columns.LabelSelector(spec.Get("selector")),
        ];
    }
}

using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 DaemonSet.</summary>
internal static class DaemonSetResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "apps",
        Version = "v1",
        Kind = "DaemonSet",
        Plural = "daemonsets",
        Singular = "daemonset",
        ShortNames = ["ds"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.apps.v1.DaemonSet",
        StorageKey = "daemonsets",
        Default = Default,
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = EmptyStatus();
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = WorkloadValidation.DaemonSet,
        ValidateUpdate = WorkloadValidation.SelectorIsImmutable,
        Subresources = [Strategies.Status("apps/v1 DaemonSet", validate: StatusValidation.DaemonSet)],
        Columns =
        [
            Columns.Name,
            Columns.Number("Desired", "Number of nodes that should run the daemon pod."),
            Columns.Number("Current", "Number of nodes that run it and should."),
            Columns.Number("Ready", "Number of nodes with a ready daemon pod."),
            Columns.Number("Up-to-date", "Number of nodes with a pod of the newest template."),
            Columns.Number("Available", "Number of nodes with an available daemon pod."),
            Columns.Text("Node Selector", "Labels a node must have for the pod to run there."),
            Columns.Age,
            Columns.Containers,
            Columns.Images,
            Columns.Selector,
        ],
        Row = Row,
    };

    private static JsonObject EmptyStatus() => new()
    {
        ["currentNumberScheduled"] = 0L, ["numberMisscheduled"] = 0L, ["desiredNumberScheduled"] = 0L, ["numberReady"] = 0L,
    };

    private static void Default(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        JsonObject strategy = spec.Ensure("updateStrategy");
        strategy.DefaultText("type", "RollingUpdate");
        if (strategy.Text("type") == "RollingUpdate")
        {
            JsonObject rolling = strategy.Ensure("rollingUpdate");
            rolling.Default("maxUnavailable", 1);
            rolling.Default("maxSurge", 0);
        }

        spec.Default("revisionHistoryLimit", 10);
        PodDefaults.Template(spec.Obj("template"));
        JsonObject status = o.Ensure("status");
        foreach ((string name, JsonNode? _) in EmptyStatus())
        {
            status.Default(name, 0);
        }
    }

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        JsonElement status = o.Get("status");
        JsonElement pod = o.Get("spec", "template", "spec");
        return
        [
            Columns.NameOf(o),
            status.Long("desiredNumberScheduled"),
            status.Long("currentNumberScheduled"),
            status.Long("numberReady"),
            status.Long("updatedNumberScheduled"),
            status.Long("numberAvailable"),
            Columns.Labels(pod.TextMap("nodeSelector")),
            HumanDuration.Age(o, now),
            Columns.ContainerNames(pod),
            Columns.ContainerImages(pod),
            Columns.LabelSelector(o.Get("spec", "selector")),
        ];
    }
}

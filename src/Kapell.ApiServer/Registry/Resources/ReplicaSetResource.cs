using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>apps/v1 ReplicaSet.</summary>
internal static class ReplicaSetResource
{
    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "apps",
        Version = "v1",
        Kind = "ReplicaSet",
        Plural = "replicasets",
        Singular = "replicaset",
        ShortNames = ["rs"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.apps.v1.ReplicaSet",
        StorageKey = "replicasets",
        Default = static o =>
        {
            JsonObject spec = o.Ensure("spec");
            spec.Default("replicas", 1);
            PodDefaults.Template(spec.Obj("template"));
            o.Ensure("status").Default("replicas", 0);
        },
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject { ["replicas"] = 0L };
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = WorkloadValidation.ReplicaSet,
        ValidateUpdate = WorkloadValidation.SelectorIsImmutable,
        Subresources = [ScaleView.Subresource, Strategies.Status("apps/v1 ReplicaSet", validate: StatusValidation.ReplicaSet)],
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
        Row = Row,
    };

    private static object?[] Row(JsonElement o, DateTimeOffset now)
    {
        JsonElement spec = o.Get("spec");
        JsonElement status = o.Get("status");
        JsonElement pod = spec.Get("template", "spec");
        return
        [
            Columns.NameOf(o),
            spec.Long("replicas"),
            status.Long("replicas"),
            status.Long("readyReplicas"),
            HumanDuration.Age(o, now),
            Columns.ContainerNames(pod),
            Columns.ContainerImages(pod),
            Columns.LabelSelector(spec.Get("selector")),
        ];
    }
}

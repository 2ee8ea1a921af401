using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Admission;

/// <summary>The two classes every cluster has (upstream: pkg/apis/scheduling/v1/helpers.go).</summary>
internal static class SystemPriorityClasses
{
    private static readonly (string Name, long Value, string Description)[] Classes =
    [
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
        ("system-cluster-critical", 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
    ];

    public static async Task WriteAsync(IObjectStore store, ResourceDefinition definition, CancellationToken cancel)
    {
        foreach ((string name, long value, string description) in Classes)
        {
            if (await store.GetAsync(definition, new ObjectKey("", name), cancel) is not null)
            {
                continue;
            }

            JsonObject wanted = new()
            {
                ["apiVersion"] = "scheduling.k8s.io/v1", ["kind"] = "PriorityClass",
                ["metadata"] = new JsonObject { ["name"] = name, ["generation"] = 1 },
                ["value"] = value, ["description"] = description, ["preemptionPolicy"] = "PreemptLowerPriority",
            };
            try
            {
                await store.CreateAsync(definition, wanted, cancel);
            }
            catch (StatusException e) when (e.IsAlreadyExists)
            {
                // Another server of this cluster was faster.
            }
        }
    }
}

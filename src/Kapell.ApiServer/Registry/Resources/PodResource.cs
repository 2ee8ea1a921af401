using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry.Resources.Pods;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Pod.</summary>
internal static class PodResource
{
    private static readonly string[] ProxyVerbs = ["create", "delete", "get", "patch", "update"];

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Pod",
        Plural = "pods",
        Singular = "pod",
        ShortNames = ["po"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.Pod",
        StorageKey = "pods",
        GracePeriodSeconds = GracePeriod,
        ReturnDeletedObject = true,
        Default = PodDefaults.Pod,
        PrepareForCreate = PrepareForCreate,
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = PodValidation.Pod,
        ValidateCreate = PodValidation.PodCreate,
        ValidateUpdate = PodValidation.PodUpdate,
        Subresources =
        [
            Strategies.Elsewhere("attach", "v1 PodAttachOptions", "create", "get"),
            Strategies.Elsewhere("binding", "v1 Binding", "create"),
            new()
            {
                Name = "ephemeralcontainers",
                Kind = new("", "v1", "Pod"),
                Verbs = ["get", "patch", "update"],
                PrepareForUpdate = UpdateEphemeralContainers,
                ValidateUpdate = PodValidation.EphemeralContainersUpdate,
            },
            Strategies.Elsewhere("eviction", "policy/v1 Eviction", "create"),
            Strategies.Elsewhere("exec", "v1 PodExecOptions", "create", "get"),
            Strategies.Elsewhere("log", "v1 Pod", "get"),
            Strategies.Elsewhere("portforward", "v1 PodPortForwardOptions", "create", "get"),
            Strategies.Elsewhere("proxy", "v1 PodProxyOptions", ProxyVerbs),
            new()
            {
                Name = "resize",
                Kind = new("", "v1", "Pod"),
                Verbs = ["get", "patch", "update"],
                PrepareForUpdate = UpdateResources,
                ValidateUpdate = static (updated, _) => PodValidation.Pod(updated),
            },
            Strategies.Status("v1 Pod", UpdateStatus, PodValidation.StatusUpdate),
        ],
        SelectableFields = new Dictionary<string, Func<JsonElement, string>>
        {
            ["spec.nodeName"] = static o => o.Get("spec").Text("nodeName"),
            ["spec.restartPolicy"] = static o => o.Get("spec").Text("restartPolicy"),
            ["spec.schedulerName"] = static o => o.Get("spec").Text("schedulerName"),
            ["spec.serviceAccountName"] = static o => o.Get("spec").Text("serviceAccountName"),
            ["spec.hostNetwork"] = static o => o.Get("spec").Bool("hostNetwork") ? "true" : "false",
            ["status.phase"] = static o => o.Get("status").Text("phase"),
            ["status.podIP"] = static o => o.Get("status").Text("podIP"),
            ["status.podIPs"] = static o => string.Join(',', o.Get("status").Items("podIPs").Select(i => i.Text("ip"))),
            ["status.nominatedNodeName"] = static o => o.Get("status").Text("nominatedNodeName"),
        },
        Columns = PodPrinter.Columns,
        Row = PodPrinter.Row,
    };

    /// <summary>Grace only for a pod that a kubelet may be running (upstream: pod strategy CheckGracefulDelete).</summary>
    private static long GracePeriod(JsonObject pod, long? asked)
    {
        bool running = pod.Obj("spec").Text("nodeName").Length > 0 && pod.Obj("status").Text("phase") is not ("Failed" or "Succeeded");
        long grace = asked ?? pod.Obj("spec").Long("terminationGracePeriodSeconds") ?? 0;
        return !running ? 0 : grace < 0 ? 1 : grace;
    }

    private static void PrepareForCreate(JsonObject pod, RequestFacts facts)
    {
        pod.Ensure("metadata")["generation"] = 1L;
        JsonObject status = new() { ["phase"] = "Pending", ["qosClass"] = PodQos.Of(pod.Obj("spec")) };
        if (pod.Obj("spec").HasItems("schedulingGates"))
        {
            status["conditions"] = new JsonArray(new JsonObject
            {
                ["type"] = "PodScheduled",
                ["status"] = "False",
                ["lastProbeTime"] = null,
                ["lastTransitionTime"] = null,
                ["reason"] = "SchedulingGated",
                ["message"] = "Scheduling is blocked due to non-empty scheduling gates",
            });
        }

        pod["status"] = status;
    }

    private static void UpdateStatus(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        Strategies.UpdateStatus(updated, old, facts);
        JsonObject metadata = updated.Ensure("metadata");
        JsonObject before = old.Obj("metadata") ?? [];
        metadata.TakeFrom("deletionTimestamp", before);
        metadata.TakeFrom("ownerReferences", before);
        // The class never changes once given; a kubelet that does not say it does not clear it.
        if (updated.Ensure("status").Text("qosClass").Length == 0 && old.Obj("status").Text("qosClass") is { Length: > 0 } qos)
        {
            updated["status"]!["qosClass"] = qos;
        }
    }

    private static void UpdateEphemeralContainers(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        JsonNode? containers = updated.Obj("spec").Arr("ephemeralContainers")?.DeepClone();
        ReplaceAllBut(updated, old);
        updated.Ensure("spec")["ephemeralContainers"] = containers;
        Strategies.CountGeneration(updated, old, updated["spec"].SameAs(old["spec"]));
    }

    /// <summary>KEP-1287: of the containers there are, their resources and resize policies.</summary>
    private static void UpdateResources(JsonObject updated, JsonObject old, RequestFacts facts)
    {
        JsonObject asked = updated.Obj("spec")?.DeepClone().AsObject() ?? [];
        ReplaceAllBut(updated, old);
        foreach (string list in new[] { "containers", "initContainers" })
        {
            foreach (JsonObject container in updated.Obj("spec").Items(list))
            {
                if (asked.Items(list).FirstOrDefault(c => c.Text("name") == container.Text("name")) is { } wanted)
                {
                    container.TakeFrom("resources", wanted);
                    container.TakeFrom("resizePolicy", wanted);
                }
            }
        }

        Strategies.CountGeneration(updated, old, updated["spec"].SameAs(old["spec"]));
    }

    /// <summary>The old object, under the resource version the request names.</summary>
    private static void ReplaceAllBut(JsonObject updated, JsonObject old)
    {
        JsonNode? version = updated.Obj("metadata")?["resourceVersion"]?.DeepClone();
        foreach (string part in new[] { "metadata", "spec", "status" })
        {
            updated.TakeFrom(part, old);
        }

        updated.Ensure("metadata")["resourceVersion"] = version;
    }
}

using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>
/// pods/eviction: a graceful deletion that a disruption budget may refuse (upstream: pkg/registry/core/pod/storage/eviction.go).
/// </summary>
internal sealed class EvictionEndpoint(IObjectStore store, ResourceDefinition pods, ResourceDefinition? budgets, TimeProvider time) : ISubresourceEndpoint
{
    private const int RetrySeconds = 10;
    private const long GraceDefault = 30;

    public GroupResource Resource => pods.GroupResource;

    public string Subresource => "eviction";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", "pods"), "pods/eviction", "", true, new GroupVersionKind("policy", "v1", "Eviction"), ["create"]);

    public bool LongRunning(RequestInfo info) => false;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (info.Verb != "create")
        {
            throw new StatusException(Status.MethodNotSupported(Resource, info.Verb));
        }

        JsonObject eviction = await EndpointJson.ReadAsync(context, "policy/v1", "Eviction", cancel);
        if (eviction.Object("metadata").Text("name") is { } name && name != info.Name)
        {
            throw new StatusException(Status.BadRequest("name in URL does not match name in Eviction object"));
        }

        JsonObject? options = eviction.Object("deleteOptions");
        JsonObject? demands = options.Object("preconditions");
        Preconditions? preconditions = demands is null
            ? null
            : new Preconditions(NullIfEmpty(demands.Text("uid")), NullIfEmpty(demands.Text("resourceVersion")));
        bool dryRun = context.Request.Query["dryRun"].Count > 0 || options.Array("dryRun") is { Count: > 0 };
        ObjectKey key = new(info.Namespace, info.Name);
        KubeObject pod = await store.GetAsync(pods, key, cancel) ?? throw new StatusException(Status.NotFound(Resource, info.Name));
        await SpendBudgetAsync(pod, dryRun, cancel);
        if (!dryRun)
        {
            await DeleteAsync(key, preconditions, options?["gracePeriodSeconds"].AsGrace(), cancel);
        }

        await EndpointJson.WriteSuccessAsync(context, cancel);
    }

    private static string? NullIfEmpty(string text) => text.Length == 0 ? null : text;

    /// <summary>Takes one allowed disruption from the only budget that selects the pod, if there is one.</summary>
    private async Task SpendBudgetAsync(KubeObject pod, bool dryRun, CancellationToken cancel)
    {
        if (budgets is null || pod.Status.Text("phase") is "Succeeded" or "Failed" or "Pending" || pod.IsDeleting)
        {
            return;
        }

        ObjectList all = await store.ListAsync(budgets, pod.Namespace, cancel);
        KubeObject[] matching = [.. all.Items.Where(b => LabelSelector.FromJson(b.Spec.Get("selector")).Matches(pod.Labels))];
        if (matching.Length > 1)
        {
            throw new StatusException(Status.InternalError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."));
        }

        if (matching.Length == 0)
        {
            return;
        }

        if (!IsReady(pod) && MayGoUnhealthy(matching[0]))
        {
            return;
        }

        await store.UpdateAsync(budgets, matching[0].Key, null, budget =>
        {
            Spend(budget, pod.Name);
            return dryRun ? null : budget;
        }, cancel);
    }

    private static bool IsReady(KubeObject pod) =>
        pod.Status.Items("conditions").Any(static c => c.Text("type") == "Ready" && c.Text("status") == "True");

    /// <summary>A pod that is not ready counts for nothing, so that its going costs nothing (KEP-3017).</summary>
    private static bool MayGoUnhealthy(KubeObject budget)
    {
        long desired = budget.Status.Long("desiredHealthy");
        return budget.Spec.Text("unhealthyPodEvictionPolicy") == "AlwaysAllow" || (desired > 0 && budget.Status.Long("currentHealthy") >= desired);
    }

    private void Spend(JsonObject budget, string pod)
    {
        JsonObject status = budget.ObjectOrNew("status");
        string name = budget.Object("metadata").Text("name");
        bool seen = (status.Long("observedGeneration") ?? 0) >= (budget.Object("metadata").Long("generation") ?? 0);
        long allowed = status.Long("disruptionsAllowed") ?? 0;
        if (!seen || allowed <= 0)
        {
            string message = seen
                ? $"The disruption budget {name} needs {status.Long("desiredHealthy")} healthy pods and has {status.Long("currentHealthy")} currently"
                : $"The disruption budget {name} is still being processed by the server.";
            throw new StatusException(Status.TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", seen ? 0 : RetrySeconds) with
            {
                Causes = [new StatusCause("DisruptionBudget", message, "")],
            });
        }

        status["disruptionsAllowed"] = allowed - 1;
        status.ObjectOrNew("disruptedPods")[pod] = KubeTime.Format(time.GetUtcNow());
    }

    private async Task DeleteAsync(ObjectKey key, Preconditions? preconditions, long? grace, CancellationToken cancel)
    {
        bool atOnce = false;
        await store.UpdateAsync(pods, key, preconditions, pod =>
        {
            JsonObject metadata = pod.ObjectOrNew("metadata");
            bool never = pod.Object("spec").Text("nodeName").Length == 0 || pod.Object("status").Text("phase") is "Succeeded" or "Failed";
            long seconds = never ? 0 : grace ?? pod.Object("spec")?["terminationGracePeriodSeconds"].AsGrace() ?? GraceDefault;
            atOnce = seconds == 0 && metadata.Array("finalizers") is not { Count: > 0 };
            if (atOnce || metadata["deletionTimestamp"] is not null)
            {
                return null;
            }

            metadata["deletionTimestamp"] = KubeTime.Format(time.GetUtcNow().AddSeconds(seconds));
            metadata["deletionGracePeriodSeconds"] = seconds;
            if (JsonNodeReading.AsLong(metadata["generation"]) is > 0 and var generation)
            {
                metadata["generation"] = generation + 1;
            }

            return pod;
        }, cancel);
        if (atOnce)
        {
            await store.DeleteAsync(pods, key, preconditions, cancel);
        }
    }
}

/// <summary>Reads a grace period, which clients send as a number.</summary>
internal static class GraceReading
{
    public static long? AsGrace(this JsonNode? node) =>
        node is JsonValue value && long.TryParse(value.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) ? seconds : null;
}

using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.GarbageCollection;

/// <summary>
/// Deletes what has no owner left (garbagecollector.go: attemptToDeleteItem). Nothing is decided from the graph alone: the object and its
/// owners are asked for live, and every delete names the uid it means.
/// </summary>
internal sealed class DeleteWorker(KubeClient client, GarbageCollector collector, ResourceMap resources) : IReconciler<string>
{
    private enum OwnerState
    {
        Solid,
        Dangling,
        WaitsForDependents,
    }

    public string Name => "garbage-collector-delete";

    public async Task<ReconcileResult> ReconcileAsync(string key, CancellationToken cancellation)
    {
        if (collector.Node(key) is not { } node || (node.IsBeingDeleted && !node.IsDeletingDependents))
        {
            return ReconcileResult.Done;
        }

        if (resources.Find(node.Identity.Group, node.Identity.Kind) is not { } resource)
        {
            // Its kind is not served (any more): nothing can be said about it now.
            return ReconcileResult.After(TimeSpan.FromSeconds(30));
        }

        KubeObject? live = await GetAsync(resource.Resource, node.Identity.Key, cancellation);
        if (live is null || live.Uid != key)
        {
            collector.NoteGone(key);
            return ReconcileResult.Done;
        }

        if (node.IsVirtual)
        {
            // It is there; its own watch will tell of it.
            return ReconcileResult.Done;
        }

        if (node.IsDeletingDependents)
        {
            await LetGoAsync(node, resource, live, cancellation);
            return ReconcileResult.Done;
        }

        await JudgeAsync(node, resource, live, cancellation);
        return ReconcileResult.Done;
    }

    /// <summary>A foreground deletion ends when no dependent holds it back (processDeletingDependentsItem).</summary>
    private async Task LetGoAsync(NodeState node, ApiResource resource, KubeObject live, CancellationToken cancellation)
    {
        IReadOnlyList<string> blocking = collector.Blocking(node.Identity.Uid);
        if (blocking.Count == 0)
        {
            await RemoveFinalizerAsync(client, resource.Resource, live, OwnerGraph.ForegroundFinalizer, cancellation);
            return;
        }

        collector.EnqueueDelete(blocking.Where(uid => collector.Node(uid) is { IsDeletingDependents: false }));
    }

    private async Task JudgeAsync(NodeState node, ApiResource resource, KubeObject live, CancellationToken cancellation)
    {
        OwnerReference[] owners = [.. Owners.Of(live)];
        if (owners.Length == 0)
        {
            return;
        }

        Dictionary<string, OwnerState> states = new(StringComparer.Ordinal);
        foreach (OwnerReference r in owners)
        {
            states[r.Uid] = await StateOfAsync(r, live.Namespace, cancellation);
        }

        if (states.ContainsValue(OwnerState.Solid))
        {
            if (states.Values.Any(s => s != OwnerState.Solid))
            {
                await RemoveOwnersAsync(client, resource.Resource, live, [.. states.Where(s => s.Value != OwnerState.Solid).Select(s => s.Key)], cancellation);
            }

            return;
        }

        if (states.ContainsValue(OwnerState.WaitsForDependents) && node.Dependents.Count > 0)
        {
            // A circle of objects in foreground deletion would wait for itself for ever: the one that blocks the other is let off.
            if (node.Dependents.Any(d => collector.Node(d.Uid) is { IsDeletingDependents: true }))
            {
                await UnblockAsync(resource.Resource, live, cancellation);
            }

            await DeleteAsync(resource.Resource, live, "Foreground", cancellation);
            return;
        }

        string[] finalizers = [.. live.Metadata.Items("finalizers").Select(f => f.GetString() ?? "")];
        string policy = finalizers.Contains(OwnerGraph.OrphanFinalizer) ? "Orphan"
            : finalizers.Contains(OwnerGraph.ForegroundFinalizer) ? "Foreground" : "Background";
        await DeleteAsync(resource.Resource, live, policy, cancellation);
    }

    private async Task<OwnerState> StateOfAsync(OwnerReference r, string ns, CancellationToken cancellation)
    {
        ObjectIdentity identity = new(r.ApiVersion, r.Kind, new ObjectKey("", r.Name), r.Uid);
        if (resources.Find(identity.Group, r.Kind) is not { } resource)
        {
            throw new StatusException(Status.InternalError($"no matches for kind \"{r.Kind}\" in version \"{r.ApiVersion}\""));
        }

        if (resource.Namespaced && ns.Length == 0)
        {
            // A cluster-wide object cannot be owned by one inside a namespace: upstream warns and leaves it alone.
            return OwnerState.Solid;
        }

        KubeObject? owner = await GetAsync(resource.Resource, new ObjectKey(resource.Namespaced ? ns : "", r.Name), cancellation);
        if (owner is null || owner.Uid != r.Uid)
        {
            return OwnerState.Dangling;
        }

        return owner.IsDeleting && owner.Metadata.Items("finalizers").Any(f => f.GetString() == OwnerGraph.ForegroundFinalizer)
            ? OwnerState.WaitsForDependents : OwnerState.Solid;
    }

    private async Task<KubeObject?> GetAsync(GroupVersionResource resource, ObjectKey key, CancellationToken cancellation)
    {
        try
        {
            return await client.GetAsync(resource, key, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return null;
        }
    }

    private async Task DeleteAsync(GroupVersionResource resource, KubeObject live, string policy, CancellationToken cancellation)
    {
        try
        {
            await client.DeleteAsync(resource, live.Key, new DeleteOptions
            {
                PropagationPolicy = policy, PreconditionUid = live.Uid, PreconditionResourceVersion = live.ResourceVersion,
            }, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }

    private Task UnblockAsync(GroupVersionResource resource, KubeObject live, CancellationToken cancellation)
    {
        JsonArray owners = [];
        foreach (JsonNode? r in live.Metadata.Get("ownerReferences").Node() as JsonArray ?? [])
        {
            JsonNode copy = r!.DeepClone(); // entries of ownerReferences are objects: validation holds
            copy["blockOwnerDeletion"] = false;
            owners.Add(copy);
        }

        return PatchAsync(client, resource, live, "ownerReferences", owners, cancellation);
    }

    internal static Task RemoveOwnersAsync(
        KubeClient client, GroupVersionResource resource, KubeObject live, IReadOnlyCollection<string> uids, CancellationToken cancellation)
    {
        JsonArray left = [.. live.Metadata.Items("ownerReferences").Where(r => !uids.Contains(r.Text("uid"))).Select(r => r.Node())];
        return PatchAsync(client, resource, live, "ownerReferences", left, cancellation);
    }

    internal static Task RemoveFinalizerAsync(
        KubeClient client, GroupVersionResource resource, KubeObject live, string finalizer, CancellationToken cancellation)
    {
        JsonArray left = [.. live.Metadata.Items("finalizers").Where(f => f.GetString() != finalizer).Select(f => f.Node())];
        return PatchAsync(client, resource, live, "finalizers", left, cancellation);
    }

    // The resourceVersion makes the whole-list patch safe: whoever changed the list meanwhile wins, and we look again.
    private static async Task PatchAsync(
        KubeClient client, GroupVersionResource resource, KubeObject live, string field, JsonArray value, CancellationToken cancellation)
    {
        JsonObject patch = new()
        {
            ["metadata"] = new JsonObject { ["uid"] = live.Uid, ["resourceVersion"] = live.ResourceVersion, [field] = value },
        };
        try
        {
            await client.PatchAsync(resource, live.Key, PatchKind.Merge, patch, cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            // Gone already.
        }
    }
}

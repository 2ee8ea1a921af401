using Kapell.Client;
using Kapell.Client.Queues;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.GarbageCollection;

/// <summary>Frees the dependents of an object deleted with propagation Orphan, then lets the object go (attemptToOrphanWorker).</summary>
internal sealed class OrphanWorker(KubeClient client, GarbageCollector collector, ResourceMap resources) : IReconciler<string>
{
    public string Name => "garbage-collector-orphan";

    public async Task<ReconcileResult> ReconcileAsync(string key, CancellationToken cancellation)
    {
        if (collector.Node(key) is not { } owner || resources.Find(owner.Identity.Group, owner.Identity.Kind) is not { } resource)
        {
            return ReconcileResult.Done;
        }

        foreach (ObjectIdentity dependent in owner.Dependents)
        {
            if (resources.Find(dependent.Group, dependent.Kind) is { } kind)
            {
                await FreeAsync(kind, dependent, key, cancellation);
            }
        }

        KubeObject? live = await GetAsync(resource, owner.Identity, cancellation);
        if (live is not null)
        {
            await DeleteWorker.RemoveFinalizerAsync(client, resource.Resource, live, OwnerGraph.OrphanFinalizer, cancellation);
        }

        return ReconcileResult.Done;
    }

    private async Task FreeAsync(ApiResource kind, ObjectIdentity dependent, string owner, CancellationToken cancellation)
    {
        KubeObject? live = await GetAsync(kind, dependent, cancellation);
        if (live is not null && Owners.Of(live).Any(r => r.Uid == owner))
        {
            await DeleteWorker.RemoveOwnersAsync(client, kind.Resource, live, [owner], cancellation);
        }
    }

    private async Task<KubeObject?> GetAsync(ApiResource kind, ObjectIdentity identity, CancellationToken cancellation)
    {
        try
        {
            KubeObject live = await client.GetAsync(kind.Resource, identity.Key, cancellation);
            return live.Uid == identity.Uid ? live : null;
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            return null;
        }
    }
}

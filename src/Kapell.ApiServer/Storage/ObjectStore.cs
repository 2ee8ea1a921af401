using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.WatchCache;
using Kapell.Etcd.Client;
using Kapell.Machinery;

namespace Kapell.ApiServer.Storage;

/// <summary>The objects of the server below the verbs; see <see cref="IObjectStore"/>.</summary>
internal sealed class ObjectStore(EtcdStorage storage, StoreMirror mirror, TimeProvider time) : IObjectStore
{
    private static readonly TimeSpan FreshnessWait = TimeSpan.FromMilliseconds(250);

    public async Task<KubeObject?> GetAsync(ResourceDefinition resource, ObjectKey key, CancellationToken cancel) =>
        (await storage.GetAsync(resource, key.Namespace, key.Name, cancel))?.ViewFor(resource).ToKubeObject();

    public async Task<ObjectList> ListAsync(ResourceDefinition resource, string ns, CancellationToken cancel)
    {
        (IReadOnlyList<StoredObject> items, long revision) = await ListStoredAsync(resource, ns, cancel);
        return new ObjectList([.. items.Select(i => i.ViewFor(resource).ToKubeObject())], revision.ToString());
    }

    /// <summary>Everything, as of no earlier than this call.</summary>
    public async Task<(IReadOnlyList<StoredObject> Items, long Revision)> ListStoredAsync(ResourceDefinition resource, string ns, CancellationToken cancel)
    {
        long current = await storage.CurrentRevisionAsync(cancel);
        if (await mirror.WaitForAsync(current, FreshnessWait, cancel))
        {
            CacheSnapshot snapshot = mirror.For(resource).Snapshot(mirror.Revision);
            return ([.. ResourceCache.Range(snapshot.Items, ns, "")], snapshot.Revision);
        }

        try
        {
            (List<StoredObject> items, _, _, long revision) = await storage.RangeAsync(resource, ns, "", 0, 0, cancel);
            return (items, revision);
        }
        catch (EtcdException e)
        {
            throw EtcdStorage.Translate(e);
        }
    }

    public async Task<KubeObject> CreateAsync(ResourceDefinition resource, JsonObject obj, CancellationToken cancel)
    {
        JsonObject metadata = obj["metadata"] as JsonObject ?? throw new StatusException(Status.BadRequest("metadata is required"));
        obj["apiVersion"] ??= resource.GroupVersionKind.ApiVersion;
        obj["kind"] ??= resource.Kind;
        metadata["uid"] ??= Guid.NewGuid().ToString();
        metadata["creationTimestamp"] ??= KubeTime.Format(time.GetUtcNow());
        metadata.Remove("resourceVersion");
        string ns = resource.Namespaced ? metadata.Text("namespace") : "";
        return (await storage.CreateAsync(resource, ns, metadata.Text("name"), obj, cancel)).ViewFor(resource).ToKubeObject();
    }

    public async Task<KubeObject> UpdateAsync(
        ResourceDefinition resource, ObjectKey key, Preconditions? preconditions, Func<JsonObject, JsonObject?> change, CancellationToken cancel)
    {
        StoredObject? current = await storage.GetAsync(resource, key.Namespace, key.Name, cancel);
        while (true)
        {
            if (current is null)
            {
                throw new StatusException(Status.NotFound(resource.GroupResource, key.Name));
            }

            StoredObject view = current.ViewFor(resource);
            Check(resource, view, preconditions);
            JsonObject? changed = change(view.ToNode());
            if (changed is null || JsonNode.DeepEquals(changed, view.ToNode()))
            {
                return view.ToKubeObject();
            }

            (StoredObject? written, current) =
                await storage.ReplaceAsync(resource, key.Namespace, key.Name, changed, current.Revision, cancel);
            if (written is not null)
            {
                return written.ViewFor(resource).ToKubeObject();
            }
        }
    }

    public async Task<KubeObject> DeleteAsync(ResourceDefinition resource, ObjectKey key, Preconditions? preconditions, CancellationToken cancel)
    {
        StoredObject? current = await storage.GetAsync(resource, key.Namespace, key.Name, cancel);
        while (true)
        {
            if (current is null)
            {
                throw new StatusException(Status.NotFound(resource.GroupResource, key.Name));
            }

            Check(resource, current, preconditions);
            (long revision, StoredObject? found) = await storage.RemoveAsync(resource, key.Namespace, key.Name, current.Revision, cancel);
            if (revision > 0)
            {
                return current.At(revision).ViewFor(resource).ToKubeObject();
            }

            current = found;
        }
    }

    public async IAsyncEnumerable<ObjectEvent> WatchAsync(
        ResourceDefinition resource, string ns, string resourceVersion, [EnumeratorCancellation] CancellationToken cancel)
    {
        ResourceCache cache = mirror.For(resource);
        Selection selection = new(resource, ns, LabelSelector.Everything, FieldSelector.Everything);
        long cursor = cache.CursorAfter(long.Parse(resourceVersion));
        List<CacheEvent> batch = [];
        while (true)
        {
            batch.Clear();
            if (!cache.TryRead(ref cursor, batch, 256, out Task changed))
            {
                throw new StatusException(Status.Expired("too old resource version: the watcher was too slow"));
            }

            foreach (CacheEvent e in batch)
            {
                if (selection.Matches(e.Object))
                {
                    StoredObject view = e.Object.ViewFor(resource);
                    yield return new ObjectEvent(e.Type, view.ToKubeObject(), view.Revision.ToString());
                }
            }

            if (batch.Count == 0)
            {
                await changed.WaitAsync(cancel);
            }
        }
    }

    /// <exception cref="StatusException">409 in upstream's words (storage.Preconditions.Check).</exception>
    public static void Check(ResourceDefinition resource, StoredObject current, Preconditions? preconditions)
    {
        if (preconditions is null)
        {
            return;
        }

        if (preconditions.Uid is { } uid)
        {
            using JsonDocument document = JsonDocument.Parse(current.Json, new JsonDocumentOptions { MaxDepth = 128 });
            string actual = document.RootElement.Get("metadata").Text("uid");
            if (actual != uid)
            {
                throw Conflict(resource, current, $"Precondition failed: UID in precondition: {uid}, UID in object meta: {actual}");
            }
        }

        if (preconditions.ResourceVersion is { } version && version != current.Revision.ToString())
        {
            throw Conflict(resource, current,
                $"Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {current.Revision}");
        }
    }

    private static StatusException Conflict(ResourceDefinition resource, StoredObject current, string why) =>
        new(Status.Conflict(resource.GroupResource, current.Name, why));
}

using System.Collections.Concurrent;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>
/// All objects of one resource in memory, kept up to date by list and watch. May lag behind the store by a moment: who finds
/// nothing here asks the store itself (<see cref="FindAsync"/>). Listeners are called in order, from one task.
/// </summary>
internal sealed class StoreMirror(ResourceDefinition resource, IObjectStore store, TimeProvider time)
{
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<ObjectKey, KubeObject> _objects = new();
    private readonly TaskCompletionSource _synced = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<(Action<KubeObject> Set, Action<ObjectKey> Remove)> _listeners = [];

    public ResourceDefinition Resource => resource;

    /// <summary>Done when the first list has been read.</summary>
    public Task Synced => _synced.Task;

    public IEnumerable<KubeObject> All => _objects.Values;

    /// <summary>Before <see cref="RunAsync"/> only.</summary>
    public void Listen(Action<KubeObject> set, Action<ObjectKey> remove) => _listeners.Add((set, remove));

    public KubeObject? Find(ObjectKey key) => _objects.GetValueOrDefault(key);

    /// <summary>From memory, or from the store when memory has none yet.</summary>
    public async ValueTask<KubeObject?> FindAsync(ObjectKey key, CancellationToken cancel) =>
        Find(key) ?? await store.GetAsync(resource, key, cancel);

    /// <summary>Lists and watches for ever; returns only by cancellation.</summary>
    public async Task RunAsync(CancellationToken cancel)
    {
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            try
            {
                ObjectList list = await store.ListAsync(resource, "", cancel);
                Replace(list.Items);
                _synced.TrySetResult();
                await foreach (ObjectEvent change in store.WatchAsync(resource, "", list.ResourceVersion, cancel))
                {
                    Apply(change);
                }
            }
            catch (StatusException)
            {
                // Too old (410) or the store is away: list again after a pause. What is in memory stays usable.
            }

            await Task.Delay(RetryPause, time, cancel);
        }
    }

    private void Replace(IReadOnlyList<KubeObject> items)
    {
        HashSet<ObjectKey> alive = [.. items.Select(i => i.Key)];
        foreach (ObjectKey gone in _objects.Keys.Where(k => !alive.Contains(k)).ToArray())
        {
            Remove(gone);
        }

        foreach (KubeObject item in items)
        {
            if (_objects.TryGetValue(item.Key, out KubeObject? known) && known.ResourceVersion == item.ResourceVersion)
            {
                continue;
            }

            Set(item);
        }
    }

    private void Apply(ObjectEvent change)
    {
        switch (change.Type)
        {
            case ObjectEventType.Added or ObjectEventType.Modified when change.Object is { } there:
                Set(there);
                break;
            case ObjectEventType.Deleted when change.Object is { } gone:
                Remove(gone.Key);
                break;
        }
    }

    private void Set(KubeObject obj)
    {
        _objects[obj.Key] = obj;
        _listeners.ForEach(l => l.Set(obj));
    }

    private void Remove(ObjectKey key)
    {
        _objects.TryRemove(key, out _);
        _listeners.ForEach(l => l.Remove(key));
    }
}

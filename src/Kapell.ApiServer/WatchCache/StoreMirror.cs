using System.Text;
using System.Text.Json;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.ApiServer.Storage;
using Kapell.Etcd.Client;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.WatchCache;

/// <summary>
/// Keeps every <see cref="ResourceCache"/> fresh through one list and one watch over all of this server's keys. Because the watch
/// sees every write, its revision is a progress mark for all resources at once: a consistent list waits for one number.
/// </summary>
internal sealed class StoreMirror
{
    private const int PageSize = 1000;
    private readonly EtcdStorage _storage;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Dictionary<string, ResourceCache> _byKey = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ResourceCache>.AlternateLookup<ReadOnlySpan<char>> _bySpan;

    // Guards the signal.
    private readonly Lock _lock = new();
    private TaskCompletionSource _progress = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _revision;

    public StoreMirror(EtcdStorage storage, ResourceSet resources, TimeProvider time, ILogger log)
    {
        _storage = storage;
        _time = time;
        _log = log;
        foreach (ResourceDefinition definition in resources.All)
        {
            _byKey.TryAdd(definition.StorageKey, new ResourceCache(time));
        }

        _bySpan = _byKey.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>All changes up to here are in the caches. 0 until the first list is in.</summary>
    public long Revision => Volatile.Read(ref _revision);

    public bool IsReady => Revision > 0;

    public ResourceCache For(ResourceDefinition definition) => _byKey[definition.StorageKey];

    /// <summary>Waits until the caches have reached a revision; false when they have not in time.</summary>
    public async Task<bool> WaitForAsync(long revision, TimeSpan atMost, CancellationToken cancel)
    {
        if (Revision >= revision && IsReady)
        {
            return true;
        }

        using CancellationTokenSource timeout = new(atMost, _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancel, timeout.Token);
        try
        {
            while (true)
            {
                Task progress;
                lock (_lock)
                {
                    progress = _progress.Task;
                }

                if (Revision >= revision && IsReady)
                {
                    return true;
                }

                await progress.WaitAsync(both.Token);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Lists and watches until stopped; starts over when the store has forgotten what was missed.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        while (true)
        {
            try
            {
                long revision = await LoadAsync(stopping);
                await FollowAsync(revision + 1, stopping);
            }
            catch (EtcdException e)
            {
                StoreLog.MirrorBroken(_log, e.Message, null);
                await Task.Delay(TimeSpan.FromMilliseconds(500), _time, stopping);
            }
        }
    }

    private async Task<long> LoadAsync(CancellationToken stopping)
    {
        Dictionary<ResourceCache, List<StoredObject>> loaded = _byKey.Values.ToDictionary(c => c, _ => new List<StoredObject>());
        byte[] prefix = Encoding.UTF8.GetBytes(_storage.Prefix);
        EtcdRange page = EtcdRange.Prefix(prefix) with { Limit = PageSize };
        long revision = 0;
        while (true)
        {
            EtcdRangeResult result = await _storage.Etcd.RangeAsync(page, stopping);
            revision = revision == 0 ? result.Revision : revision;
            foreach (EtcdEntry entry in result.Entries)
            {
                if (Locate(entry, out string key) is { } cache && ReadOrSkip(key, entry) is { } stored)
                {
                    loaded[cache].Add(stored);
                }
            }

            if (!result.More || result.Entries.Count == 0)
            {
                break;
            }

            page = page with { Key = (byte[])[.. result.Entries[^1].Key.Span, 0], Revision = revision };
        }

        foreach ((ResourceCache cache, List<StoredObject> items) in loaded)
        {
            cache.Reset(items, revision);
        }

        Advance(revision);
        return revision;
    }

    private async Task FollowAsync(long from, CancellationToken stopping)
    {
        await using IEtcdWatch watch = _storage.Etcd.Watch(Encoding.UTF8.GetBytes(_storage.Prefix), from, progressNotify: true);
        await foreach (EtcdWatchBatch batch in watch.ReadAllAsync(stopping))
        {
            foreach (EtcdEvent e in batch.Events)
            {
                if (Locate(e.Entry, out string key) is not { } cache)
                {
                    continue;
                }

                if (e.IsDelete)
                {
                    cache.Delete(key, e.Entry.ModRevision);
                }
                else if (ReadOrSkip(key, e.Entry) is { } stored)
                {
                    cache.Put(stored);
                }
            }

            Advance(batch.Revision);
        }
    }

    private void Advance(long revision)
    {
        if (revision <= Revision)
        {
            return;
        }

        TaskCompletionSource old;
        lock (_lock)
        {
            Volatile.Write(ref _revision, revision);
            old = _progress;
            _progress = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        old.SetResult();
    }

    /// <summary>Which cache an entry belongs to; null for keys of resources this server does not know.</summary>
    private ResourceCache? Locate(EtcdEntry entry, out string key)
    {
        string path = Encoding.UTF8.GetString(entry.Key.Span[_storage.Prefix.Length..]);
        key = "";
        int slash = path.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0)
        {
            return null;
        }

        // services/specs and services/endpoints have two segments.
        int second = path.IndexOf('/', slash + 1);
        if (second > 0 && _bySpan.TryGetValue(path.AsSpan(0, second), out ResourceCache? two))
        {
            key = path[(second + 1)..];
            return two;
        }

        key = path[(slash + 1)..];
        return _bySpan.TryGetValue(path.AsSpan(0, slash), out ResourceCache? one) ? one : null;
    }

    private StoredObject? ReadOrSkip(string key, EtcdEntry entry)
    {
        try
        {
            return StoredObject.Read(key, entry.Value.Span, entry.ModRevision);
        }
        catch (JsonException e)
        {
            StoreLog.Unreadable(_log, key, e.Message, null);
            return null;
        }
    }
}

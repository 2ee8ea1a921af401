using System.Collections.Immutable;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Storage;
using Kapell.Machinery;

namespace Kapell.ApiServer.WatchCache;

/// <summary>One change of one object. <see cref="Object"/> of a deletion is the last state, under the deletion's revision.</summary>
internal sealed record CacheEvent(ObjectEventType Type, StoredObject Object, StoredObject? Previous, long Revision);

/// <summary>All objects of one storage prefix at one revision.</summary>
internal readonly record struct CacheSnapshot(ImmutableSortedSet<StoredObject> Items, long Revision);

/// <summary>
/// The objects below one storage prefix and their last changes. Written by the mirror alone, read by everyone. Watchers are
/// cursors into the one ring of events: nothing is kept for each of them, and who falls off the ring is told so.
/// </summary>
internal sealed class ResourceCache(TimeProvider time)
{
    private const int CapacityMin = 128;
    private const int CapacityMax = 16384;
    private static readonly TimeSpan Keep = TimeSpan.FromMinutes(3);
    private static readonly ImmutableSortedSet<StoredObject> EmptySet = ImmutableSortedSet.Create<StoredObject>(new ByKey());

    // Guards everything below; never held over an await.
    private readonly Lock _lock = new();
    private ImmutableSortedSet<StoredObject> _items = EmptySet;
    private (CacheEvent Event, long Timestamp)[] _ring = new (CacheEvent, long)[CapacityMin];
    private long _first;
    private long _next;
    private long _revision;
    private long _horizon;
    private TaskCompletionSource _changed = NewSignal();

    /// <summary>Everything up to here is applied, as far as this cache alone knows; see <see cref="StoreMirror.Revision"/>.</summary>
    public CacheSnapshot Snapshot(long atLeast)
    {
        lock (_lock)
        {
            return new CacheSnapshot(_items, Math.Max(_revision, atLeast));
        }
    }

    public StoredObject? Get(string key)
    {
        ImmutableSortedSet<StoredObject> items;
        lock (_lock)
        {
            items = _items;
        }

        return items.TryGetValue(StoredObject.Probe(key), out StoredObject? found) && found.Revision > 0 ? found : null;
    }

    /// <summary>Where a watcher that has seen everything up to <paramref name="revision"/> goes on.</summary>
    /// <exception cref="StatusException">410 when changes after that are forgotten.</exception>
    public long CursorAfter(long revision)
    {
        lock (_lock)
        {
            if (revision < _horizon)
            {
                throw new StatusException(Status.Expired($"too old resource version: {revision} ({_horizon})"));
            }

            long low = _first;
            long high = _next;
            while (low < high)
            {
                long middle = low + ((high - low) / 2);
                if (At(middle).Event.Revision <= revision)
                {
                    low = middle + 1;
                }
                else
                {
                    high = middle;
                }
            }

            return low;
        }
    }

    /// <summary>A snapshot and the cursor that goes on from it.</summary>
    public (CacheSnapshot Snapshot, long Cursor) SnapshotWithCursor(long atLeast)
    {
        lock (_lock)
        {
            return (new CacheSnapshot(_items, Math.Max(_revision, atLeast)), _next);
        }
    }

    /// <summary>Takes up to <paramref name="max"/> events. False: the cursor has fallen off the ring.</summary>
    /// <param name="changed">Completes at the next change; only meaningful when nothing was taken.</param>
    public bool TryRead(ref long cursor, List<CacheEvent> into, int max, out Task changed)
    {
        lock (_lock)
        {
            changed = _changed.Task;
            if (cursor < _first)
            {
                return false;
            }

            while (cursor < _next && into.Count < max)
            {
                into.Add(At(cursor++).Event);
            }

            return true;
        }
    }

    /// <summary>A list read anew: what watchers have seen says nothing any more, so all of them fall off.</summary>
    internal void Reset(IEnumerable<StoredObject> items, long revision)
    {
        ImmutableSortedSet<StoredObject>.Builder builder = EmptySet.ToBuilder();
        builder.UnionWith(items);
        TaskCompletionSource changed;
        lock (_lock)
        {
            _items = builder.ToImmutable();
            _ring = new (CacheEvent, long)[CapacityMin];
            // One past the last: a watcher that had read everything falls off too.
            _first = _next = _next + 1;
            _revision = revision;
            _horizon = revision;
            changed = Swap();
        }

        changed.SetResult();
    }

    internal void Put(StoredObject stored)
    {
        TaskCompletionSource changed;
        lock (_lock)
        {
            StoredObject? previous = _items.TryGetValue(stored, out StoredObject? found) && !ReferenceEquals(found, stored) ? found : null;
            _items = (previous is null ? _items : _items.Remove(previous)).Add(stored);
            Append(new CacheEvent(previous is null ? ObjectEventType.Added : ObjectEventType.Modified, stored, previous, stored.Revision));
            changed = Swap();
        }

        changed.SetResult();
    }

    internal void Delete(string key, long revision)
    {
        TaskCompletionSource changed;
        StoredObject probe = StoredObject.Probe(key);
        lock (_lock)
        {
            if (!_items.TryGetValue(probe, out StoredObject? previous) || ReferenceEquals(previous, probe))
            {
                return;
            }

            _items = _items.Remove(previous);
            Append(new CacheEvent(ObjectEventType.Deleted, previous.At(revision), previous, revision));
            changed = Swap();
        }

        changed.SetResult();
    }

    /// <summary>The items of one namespace (or all), in key order, from a key on.</summary>
    public static IEnumerable<StoredObject> Range(ImmutableSortedSet<StoredObject> items, string ns, string startKey)
    {
        string prefix = ns.Length == 0 ? "" : ns + "/";
        string from = string.CompareOrdinal(startKey, prefix) > 0 ? startKey : prefix;
        int at = from.Length == 0 ? 0 : items.IndexOf(StoredObject.Probe(from));
        for (at = at < 0 ? ~at : at; at < items.Count; at++)
        {
            StoredObject item = items[at];
            if (prefix.Length > 0 && !item.Key.StartsWith(prefix, StringComparison.Ordinal))
            {
                yield break;
            }

            yield return item;
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ref (CacheEvent Event, long Timestamp) At(long sequence) => ref _ring[(int)(sequence % _ring.Length)];

    private TaskCompletionSource Swap()
    {
        TaskCompletionSource old = _changed;
        _changed = NewSignal();
        return old;
    }

    private void Append(CacheEvent e)
    {
        if (_next - _first == _ring.Length)
        {
            if (_ring.Length < CapacityMax && time.GetElapsedTime(At(_first).Timestamp) < Keep)
            {
                var larger = new (CacheEvent, long)[_ring.Length * 2];
                for (long i = _first; i < _next; i++)
                {
                    larger[(int)(i % larger.Length)] = At(i);
                }

                _ring = larger;
            }
            else
            {
                _horizon = At(_first).Event.Revision;
                _first++;
            }
        }

        _next++;
        At(_next - 1) = (e, time.GetTimestamp());
        _revision = e.Revision;
    }

    /// <summary>UTF-8 byte order of keys, which for the ASCII that names are made of is ordinal order.</summary>
    private sealed class ByKey : IComparer<StoredObject>
    {
        public int Compare(StoredObject? x, StoredObject? y) => string.CompareOrdinal(x?.Key, y?.Key);
    }
}

using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>
/// What a controller has asked for and its cache does not show yet (controller_utils.go: UIDTrackingControllerExpectations). While a key's
/// expectations are open the controller must not count its children: it would make or delete them twice. Expectations that are five
/// minutes old count as met: the watch lost something, and the cache is the truth again.
/// </summary>
internal sealed class Expectations(TimeProvider time)
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);
    private readonly Lock _gate = new(); // around the map and its entries
    private readonly Dictionary<ObjectKey, Entry> _entries = [];

    public bool Satisfied(ObjectKey key)
    {
        lock (_gate)
        {
            return !_entries.TryGetValue(key, out Entry? e) || (e.Creations <= 0 && e.Deletions.Count == 0)
                || time.GetElapsedTime(e.At) > Lifetime;
        }
    }

    public void ExpectCreations(ObjectKey key, int count)
    {
        lock (_gate)
        {
            Entry e = Fresh(key);
            e.Creations += count;
        }
    }

    public void ExpectDeletions(ObjectKey key, IEnumerable<string> uids)
    {
        lock (_gate)
        {
            Fresh(key).Deletions.UnionWith(uids);
        }
    }

    /// <summary>One was seen, or will never come: its creation failed.</summary>
    public void CreationObserved(ObjectKey key)
    {
        lock (_gate)
        {
            if (_entries.TryGetValue(key, out Entry? e) && e.Creations > 0)
            {
                e.Creations--;
            }
        }
    }

    public void DeletionObserved(ObjectKey key, string uid)
    {
        lock (_gate)
        {
            if (_entries.TryGetValue(key, out Entry? e))
            {
                e.Deletions.Remove(uid);
            }
        }
    }

    public void Forget(ObjectKey key)
    {
        lock (_gate)
        {
            _entries.Remove(key);
        }
    }

    private Entry Fresh(ObjectKey key)
    {
        if (!_entries.TryGetValue(key, out Entry? e) || time.GetElapsedTime(e.At) > Lifetime)
        {
            _entries[key] = e = new Entry();
        }

        e.At = time.GetTimestamp();
        return e;
    }

    private sealed class Entry
    {
        public int Creations { get; set; }

        public HashSet<string> Deletions { get; } = new(StringComparer.Ordinal);

        public long At { get; set; }
    }
}

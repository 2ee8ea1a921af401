namespace Kapell.Etcd.Tests.Mvcc;

internal sealed record ModelPair(string Key, string Value, long Create, long Mod, long Version, long Lease);

/// <summary>The store as one would explain it: a whole dictionary for each revision. Slow and obvious.</summary>
internal sealed class ModelStore
{
    private readonly Dictionary<long, SortedDictionary<string, ModelPair>> _revisions = new() { [1] = New() };
    private SortedDictionary<string, ModelPair> _writing = New();

    public long Revision { get; private set; } = 1;

    public long CompactRevision { get; private set; }

    public SortedDictionary<long, long> Leases { get; } = [];

    /// <summary>Every change: revision, key, whether it is a deletion.</summary>
    public List<(long Revision, string Key, bool Deleted)> Changes { get; } = [];

    public IReadOnlyDictionary<string, ModelPair> At(long revision) => _revisions[revision];

    public void Begin() => _writing = new SortedDictionary<string, ModelPair>(_revisions[Revision], StringComparer.Ordinal);

    public void Put(string key, string value, long lease)
    {
        ModelPair? old = _writing.GetValueOrDefault(key);
        long next = Revision + 1;
        _writing[key] = new ModelPair(key, value, old?.Create ?? next, next, (old?.Version ?? 0) + 1, lease);
        Changes.Add((next, key, false));
    }

    public int Delete(Func<string, bool> inRange)
    {
        string[] gone = [.. _writing.Keys.Where(inRange)];
        foreach (string key in gone)
        {
            _writing.Remove(key);
            Changes.Add((Revision + 1, key, true));
        }

        return gone.Length;
    }

    public void Revoke(long lease)
    {
        HashSet<string> keys = [.. _writing.Values.Where(p => p.Lease == lease).Select(p => p.Key)];
        Delete(keys.Contains);
        Leases.Remove(lease);
    }

    public void End()
    {
        if (Changes.Count > 0 && Changes[^1].Revision > Revision)
        {
            _revisions[++Revision] = _writing;
        }
    }

    public void Compact(long revision)
    {
        CompactRevision = revision;
        foreach (long old in _revisions.Keys.Where(r => r < revision).ToArray())
        {
            _revisions.Remove(old);
        }
    }

    private static SortedDictionary<string, ModelPair> New() => new(StringComparer.Ordinal);
}

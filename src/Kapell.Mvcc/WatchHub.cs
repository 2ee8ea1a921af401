using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>Who is told of changes. Called by the owner of the store while it applies: it must only take note.</summary>
public interface IWatchTarget
{
    /// <param name="position">Of the change in the log (<see cref="MvccStore.ReadChange"/>); positions come in rising order.</param>
    void Offer(long position, bool tombstone);

    /// <summary>Another store has taken the place of the one watched; places in its log are others.</summary>
    void Moved(MvccStore former, MvccStore store);
}

/// <summary>
/// Finds the watchers of a changed key. Watchers of one key are found by hash; watchers of ranges are grouped by range, so a
/// thousand watchers of one prefix cost one comparison. Distinct ranges are tried one after another: there are as many as the
/// kinds of objects of a cluster.
/// </summary>
public sealed class WatchHub
{
    private readonly Dictionary<byte[], List<IWatchTarget>> _keys = new(BytesComparer.Instance);
    private readonly Dictionary<byte[], List<IWatchTarget>>.AlternateLookup<ReadOnlySpan<byte>> _keysBySpan;
    private readonly List<RangeGroup> _ranges = [];

    public WatchHub() => _keysBySpan = _keys.GetAlternateLookup<ReadOnlySpan<byte>>();

    public int Count { get; private set; }

    /// <param name="end">As in <see cref="RangeQuery.End"/>.</param>
    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end, IWatchTarget target)
    {
        Count++;
        if (end.IsEmpty)
        {
            if (!_keysBySpan.TryGetValue(key, out List<IWatchTarget>? targets))
            {
                targets = [];
                _keysBySpan[key] = targets;
            }

            targets.Add(target);
            return;
        }

        int index = FindRange(key, end);
        if (index < 0)
        {
            index = _ranges.Count;
            _ranges.Add(new RangeGroup(key.ToArray(), end.ToArray(), []));
        }

        _ranges[index].Targets.Add(target);
    }

    public void Remove(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end, IWatchTarget target)
    {
        Count--;
        if (end.IsEmpty)
        {
            List<IWatchTarget> targets = _keysBySpan[key];
            Check.That(targets.Remove(target));
            if (targets.Count == 0)
            {
                _keysBySpan.Remove(key);
            }

            return;
        }

        int index = FindRange(key, end);
        Check.That(index >= 0);
        Check.That(_ranges[index].Targets.Remove(target));
        if (_ranges[index].Targets.Count == 0)
        {
            _ranges.RemoveAt(index);
        }
    }

    internal void Publish(ReadOnlySpan<byte> key, long position, bool tombstone)
    {
        if (_keysBySpan.TryGetValue(key, out List<IWatchTarget>? targets))
        {
            Offer(targets, position, tombstone);
        }

        foreach (RangeGroup group in _ranges)
        {
            if (KeyRange.Contains(group.Key, group.End, key))
            {
                Offer(group.Targets, position, tombstone);
            }
        }
    }

    internal void Moved(MvccStore former, MvccStore store)
    {
        foreach (IWatchTarget target in _keys.Values.Concat(_ranges.Select(static r => r.Targets)).SelectMany(static t => t))
        {
            target.Moved(former, store);
        }
    }

    private static void Offer(List<IWatchTarget> targets, long position, bool tombstone)
    {
        foreach (IWatchTarget target in targets)
        {
            target.Offer(position, tombstone);
        }
    }

    private int FindRange(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end)
    {
        for (int i = 0; i < _ranges.Count; i++)
        {
            if (key.SequenceEqual(_ranges[i].Key) && end.SequenceEqual(_ranges[i].End))
            {
                return i;
            }
        }

        return -1;
    }

    private sealed record RangeGroup(byte[] Key, byte[] End, List<IWatchTarget> Targets);
}

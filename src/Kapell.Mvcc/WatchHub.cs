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
/// Finds the watchers of a changed key. Watchers of one key are found by hash, and so are those of a prefix: the key is cut to each length
/// that some watched prefix has. Only ranges that are no prefix are tried one after another, grouped by range.
/// </summary>
public sealed class WatchHub
{
    private readonly TargetTable _keys = new();
    private readonly TargetTable _prefixes = new();

    /// <summary>How many watched prefixes there are of each length.</summary>
    private readonly SortedDictionary<int, int> _prefixLengths = [];
    private readonly List<RangeGroup> _ranges = [];

    public int Count { get; private set; }

    /// <param name="key">Kept as it is: not to be changed.</param>
    /// <param name="end">As in <see cref="RangeQuery.End"/>; kept too.</param>
    public void Add(byte[] key, byte[] end, IWatchTarget target)
    {
        Count++;
        if (end.Length == 0)
        {
            _keys.Add(key, target);
        }
        else if (IsPrefix(key, end))
        {
            if (_prefixes.Add(key, target))
            {
                _prefixLengths[key.Length] = _prefixLengths.GetValueOrDefault(key.Length) + 1;
            }
        }
        else if (_ranges.Find(r => r.Is(key, end)) is { } group)
        {
            group.Targets.Add(target);
        }
        else
        {
            _ranges.Add(new RangeGroup(key, end, [target]));
        }
    }

    public void Remove(byte[] key, byte[] end, IWatchTarget target)
    {
        Count--;
        if (end.Length == 0)
        {
            _keys.Remove(key, target);
        }
        else if (IsPrefix(key, end))
        {
            if (_prefixes.Remove(key, target) && --_prefixLengths[key.Length] == 0)
            {
                _prefixLengths.Remove(key.Length);
            }
        }
        else
        {
            RangeGroup group = _ranges.Find(r => r.Is(key, end))!;
            Check.That(group.Targets.Remove(target));
            if (group.Targets.Count == 0)
            {
                _ranges.Remove(group);
            }
        }
    }

    internal void Publish(ReadOnlySpan<byte> key, long position, bool tombstone)
    {
        _keys.Publish(key, position, tombstone);
        foreach ((int length, _) in _prefixLengths)
        {
            if (length > key.Length)
            {
                break;
            }

            _prefixes.Publish(key[..length], position, tombstone);
        }

        foreach (RangeGroup group in _ranges)
        {
            if (KeyRange.Contains(group.Key, group.End, key))
            {
                group.Targets.ForEach(t => t.Offer(position, tombstone));
            }
        }
    }

    internal void Moved(MvccStore former, MvccStore store)
    {
        foreach (IWatchTarget target in _keys.All.Concat(_prefixes.All).Concat(_ranges.SelectMany(static r => r.Targets)))
        {
            target.Moved(former, store);
        }
    }

    /// <summary>Whether the range is all keys that begin with its first one. etcd: clientv3/op.go getPrefix</summary>
    private static bool IsPrefix(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end)
    {
        int last = key.Length - 1;
        while (last >= 0 && key[last] == 0xFF)
        {
            last--;
        }

        return last >= 0 && end.Length == last + 1 && end[last] == key[last] + 1 && end[..last].SequenceEqual(key[..last]);
    }

    private sealed record RangeGroup(byte[] Key, byte[] End, List<IWatchTarget> Targets)
    {
        public bool Is(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end) => key.SequenceEqual(Key) && end.SequenceEqual(End);
    }

    /// <summary>Targets by bytes. One alone, the usual case, stands there itself; several share a list.</summary>
    private sealed class TargetTable
    {
        private readonly Dictionary<byte[], object> _targets = new(BytesComparer.Instance);
        private readonly Dictionary<byte[], object>.AlternateLookup<ReadOnlySpan<byte>> _bySpan;

        public TargetTable() => _bySpan = _targets.GetAlternateLookup<ReadOnlySpan<byte>>();

        public IEnumerable<IWatchTarget> All => _targets.Values.SelectMany(static v => v as IEnumerable<IWatchTarget> ?? [(IWatchTarget)v]);

        /// <summary>True when it is the first of these bytes.</summary>
        public bool Add(byte[] bytes, IWatchTarget target)
        {
            if (_targets.TryAdd(bytes, target))
            {
                return true;
            }

            if (_targets[bytes] is not List<IWatchTarget> list)
            {
                _targets[bytes] = list = [(IWatchTarget)_targets[bytes]];
            }

            list.Add(target);
            return false;
        }

        /// <summary>True when it was the last of these bytes.</summary>
        public bool Remove(byte[] bytes, IWatchTarget target)
        {
            object there = _targets[bytes];
            if (there is List<IWatchTarget> list)
            {
                Check.That(list.Remove(target));
                if (list.Count > 0)
                {
                    return false;
                }
            }
            else
            {
                Check.That(ReferenceEquals(there, target));
            }

            _targets.Remove(bytes);
            return true;
        }

        public void Publish(ReadOnlySpan<byte> bytes, long position, bool tombstone)
        {
            if (_targets.Count == 0 || !_bySpan.TryGetValue(bytes, out object? there))
            {
                return;
            }

            if (there is List<IWatchTarget> list)
            {
                foreach (IWatchTarget target in list)
                {
                    target.Offer(position, tombstone);
                }
            }
            else
            {
                ((IWatchTarget)there).Offer(position, tombstone);
            }
        }
    }
}

using Kapell.Base;

namespace Kapell.Mvcc.Auth;

/// <summary>A set of keys as disjoint ranges in order, so that one search tells whether all of a range is in it.</summary>
internal sealed class KeySet
{
    private readonly List<byte[]> _begins = [];
    private readonly List<byte[]?> _ends = []; // Null: no upper bound.

    public KeySet(IEnumerable<(byte[] Key, byte[] End)> ranges)
    {
        foreach ((byte[] key, byte[] end) in ranges.OrderBy(static r => r.Key, Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b))))
        {
            Add(key, Exclusive(key, end));
        }
    }

    /// <summary>Whether every key of the range is in the set.</summary>
    public bool Contains(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end)
    {
        int low = 0;
        int high = _begins.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_begins[middle].AsSpan().SequenceCompareTo(key) <= 0)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        if (low == 0)
        {
            return false;
        }

        byte[]? upper = _ends[low - 1];
        if (upper is null)
        {
            return true;
        }

        if (KeyRange.IsUnbounded(end))
        {
            return false;
        }

        return end.IsEmpty ? key.SequenceCompareTo(upper) < 0 : key.SequenceCompareTo(upper) < 0 && end.SequenceCompareTo(upper) <= 0;
    }

    private static byte[]? Exclusive(byte[] key, byte[] end) =>
        end.Length == 0 ? [.. key, 0] : KeyRange.IsUnbounded(end) ? null : end;

    private void Add(byte[] begin, byte[]? end)
    {
        if (end is not null && begin.AsSpan().SequenceCompareTo(end) >= 0)
        {
            return; // Holds nothing.
        }

        int last = _begins.Count - 1;
        bool touches = last >= 0 && (_ends[last] is not { } upper || begin.AsSpan().SequenceCompareTo(upper) <= 0);
        if (!touches)
        {
            _begins.Add(begin);
            _ends.Add(end);
            return;
        }

        Check.That(last >= 0);
        if (_ends[last] is { } before && (end is null || end.AsSpan().SequenceCompareTo(before) > 0))
        {
            _ends[last] = end;
        }
    }
}

using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>A place in a <see cref="KeyIndex"/>; valid until the index is changed.</summary>
internal struct KeyCursor
{
    public int Leaf;
    public int Slot;
}

/// <summary>
/// The keys in byte order: a B+tree of height two, that is, leaves of up to 128 keys under one sorted array of leaves. Splitting a
/// leaf moves the rest of that array, which for ten million keys costs some microseconds every 64 insertions, and a search is two
/// binary searches without a walk of nodes. Owns its entries.
/// </summary>
internal sealed unsafe class KeyIndex : IDisposable
{
    private const int LeafSlots = 128;

    private Leaf[] _leaves = [new Leaf()];
    private int _leafCount = 1;

    public long Count { get; private set; }

    /// <summary>Keys whose newest revision is no deletion.</summary>
    public long LiveCount { get; private set; }

    /// <summary>Bytes of all entries.</summary>
    public long Bytes { get; private set; }

    public KeyEntry* Find(ReadOnlySpan<byte> key)
    {
        KeyCursor cursor = LowerBound(key);
        KeyEntry* entry = At(cursor);
        return entry != null && KeyEntry.Key(entry).SequenceEqual(key) ? entry : null;
    }

    public KeyEntry* FindOrAdd(ReadOnlySpan<byte> key)
    {
        int leafIndex = LeafOf(key);
        Leaf leaf = _leaves[leafIndex];
        int slot = leaf.LowerBound(key);
        if (slot < leaf.Count)
        {
            KeyEntry* found = leaf.Entry(slot);
            if (KeyEntry.Key(found).SequenceEqual(key))
            {
                return found;
            }
        }

        KeyEntry* entry = KeyEntry.Allocate(key);
        Count++;
        Bytes += KeyEntry.SizeOf(entry);
        if (leaf.Count == LeafSlots)
        {
            Leaf right = leaf.Split(slot);
            InsertLeaf(leafIndex + 1, right);
            if (slot > leaf.Count)
            {
                slot -= leaf.Count;
                leaf = right;
            }
        }

        leaf.Insert(slot, entry);
        return entry;
    }

    public void Append(KeyEntry* entry, RevisionItem item)
    {
        long before = KeyEntry.SizeOf(entry);
        LiveCount -= Lives(entry);
        KeyEntry.Append(entry, item);
        LiveCount += Lives(entry);
        Bytes += KeyEntry.SizeOf(entry) - before;
    }

    public void DropOldest(KeyEntry* entry, int count)
    {
        long before = KeyEntry.SizeOf(entry);
        KeyEntry.DropOldest(entry, count);
        Bytes += KeyEntry.SizeOf(entry) - before;
    }

    public void Remove(KeyEntry* entry)
    {
        int leafIndex = LeafOf(KeyEntry.Key(entry));
        Leaf leaf = _leaves[leafIndex];
        int slot = leaf.LowerBound(KeyEntry.Key(entry));
        Check.That(slot < leaf.Count && leaf.Entry(slot) == entry);
        leaf.RemoveAt(slot);
        if (leaf.Count == 0 && _leafCount > 1)
        {
            Array.Copy(_leaves, leafIndex + 1, _leaves, leafIndex, _leafCount - leafIndex - 1);
            _leaves[--_leafCount] = null!;
        }

        Count--;
        LiveCount -= Lives(entry);
        Bytes -= KeyEntry.SizeOf(entry);
        KeyEntry.Free(entry);
    }

    /// <summary>The first key not before <paramref name="key"/>.</summary>
    public KeyCursor LowerBound(ReadOnlySpan<byte> key)
    {
        KeyCursor cursor = default;
        cursor.Leaf = LeafOf(key);
        cursor.Slot = _leaves[cursor.Leaf].LowerBound(key);
        Settle(ref cursor);
        return cursor;
    }

    /// <summary>The entry at the cursor, or null at the end.</summary>
    public KeyEntry* At(in KeyCursor cursor) => cursor.Leaf < _leafCount && cursor.Slot < _leaves[cursor.Leaf].Count
        ? _leaves[cursor.Leaf].Entry(cursor.Slot)
        : null;

    public void Next(ref KeyCursor cursor)
    {
        cursor.Slot++;
        Settle(ref cursor);
    }

    public void Dispose()
    {
        for (int i = 0; i < _leafCount; i++)
        {
            for (int slot = 0; slot < _leaves[i].Count; slot++)
            {
                KeyEntry.Free(_leaves[i].Entry(slot));
            }
        }

        _leaves = [new Leaf()];
        _leafCount = 1;
        Count = 0;
        LiveCount = 0;
        Bytes = 0;
    }

    private static int Lives(KeyEntry* entry) => entry->Count > 0 && !entry->Items[entry->Count - 1].Address.IsTombstone ? 1 : 0;

    private void Settle(ref KeyCursor cursor)
    {
        while (cursor.Leaf < _leafCount && cursor.Slot >= _leaves[cursor.Leaf].Count)
        {
            cursor.Leaf++;
            cursor.Slot = 0;
        }
    }

    /// <summary>The last leaf whose first key is not after the key; the first leaf when there is none.</summary>
    private int LeafOf(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _leafCount;
        while (high - low > 1)
        {
            int middle = (low + high) >>> 1;
            if (KeyEntry.Key(_leaves[middle].Entry(0)).SequenceCompareTo(key) <= 0)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    private void InsertLeaf(int at, Leaf leaf)
    {
        if (_leafCount == _leaves.Length)
        {
            Array.Resize(ref _leaves, _leaves.Length * 2);
        }

        Array.Copy(_leaves, at, _leaves, at + 1, _leafCount - at);
        _leaves[at] = leaf;
        _leafCount++;
    }

    private sealed class Leaf
    {
        private readonly nint[] _entries = new nint[LeafSlots];

        public int Count { get; private set; }

        public KeyEntry* Entry(int slot) => (KeyEntry*)_entries[slot];

        public int LowerBound(ReadOnlySpan<byte> key)
        {
            int low = 0;
            int high = Count;
            while (low < high)
            {
                int middle = (low + high) >>> 1;
                if (KeyEntry.Key((KeyEntry*)_entries[middle]).SequenceCompareTo(key) < 0)
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

        public void Insert(int slot, KeyEntry* entry)
        {
            Array.Copy(_entries, slot, _entries, slot + 1, Count - slot);
            _entries[slot] = (nint)entry;
            Count++;
        }

        public void RemoveAt(int slot)
        {
            Array.Copy(_entries, slot + 1, _entries, slot, Count - slot - 1);
            Count--;
        }

        /// <summary>Moves the upper half away; all but nothing when keys come in rising order, so that such leaves stay full.</summary>
        public Leaf Split(int insertingAt)
        {
            int keep = insertingAt == Count ? Count - 1 : Count / 2;
            Leaf right = new() { Count = Count - keep };
            Array.Copy(_entries, keep, right._entries, 0, right.Count);
            Count = keep;
            return right;
        }
    }
}

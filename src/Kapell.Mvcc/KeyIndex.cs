using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>A place in a <see cref="KeyIndex"/>; valid until the index is changed.</summary>
internal struct KeyCursor
{
    public int Leaf;
    public int Slot;

    public readonly bool IsBefore(in KeyCursor other) => Leaf < other.Leaf || (Leaf == other.Leaf && Slot < other.Slot);
}

/// <summary>
/// The keys in byte order: a B+tree of height two, that is, leaves of up to 128 keys under one sorted array of leaves. Splitting a
/// leaf moves the rest of that array, which for ten million keys costs some microseconds every 64 insertions, and a search is two
/// binary searches without a walk of nodes. Owns its entries; a key is read from its newest record, which must stay as long as its entry.
/// </summary>
internal sealed unsafe class KeyIndex : IDisposable
{
    private const int LeafSlots = 128;

    private readonly KeyEntryPool _entries = new();
    private Leaf[] _leaves = [new Leaf()];

    /// <summary>The first entry of each leaf, so that the search among leaves does not visit them.</summary>
    private nint[] _firsts = [0];
    private int _leafCount = 1;

    public long Count { get; private set; }

    /// <summary>Keys whose newest revision is no deletion.</summary>
    public long LiveCount { get; private set; }

    /// <summary>Bytes of all entries.</summary>
    public long Bytes { get; private set; }

    /// <summary>The bytes of an entry's key; valid until its newest record is released.</summary>
    public static ReadOnlySpan<byte> Key(KeyEntry* entry) => KeyValueRecord.KeyOf(RecordPages.Read(entry->Newest.Address));

    public KeyEntry* Find(ReadOnlySpan<byte> key) => TryFind(key, out KeyCursor cursor) ? At(cursor) : null;

    /// <summary>Where the key is, or where it belongs.</summary>
    public bool TryFind(ReadOnlySpan<byte> key, out KeyCursor cursor)
    {
        cursor = default;
        cursor.Leaf = LeafOf(key);
        Leaf leaf = _leaves[cursor.Leaf];
        cursor.Slot = leaf.LowerBound(key);
        return cursor.Slot < leaf.Count && Key(leaf.Entry(cursor.Slot)).SequenceEqual(key);
    }

    /// <summary>A new key at the place that <see cref="TryFind"/> gave for it.</summary>
    public KeyEntry* Insert(KeyCursor at, RevisionItem first)
    {
        KeyEntry* entry = _entries.Take();
        KeyEntry.Initialize(entry, first);
        Count++;
        LiveCount += Lives(entry);
        Bytes += sizeof(KeyEntry);
        Leaf leaf = _leaves[at.Leaf];
        if (leaf.Count == LeafSlots)
        {
            Leaf right = leaf.Split(at.Slot);
            InsertLeaf(at.Leaf + 1, right);
            if (at.Slot > leaf.Count)
            {
                at.Slot -= leaf.Count;
                at.Leaf++;
                leaf = right;
            }
        }

        leaf.Insert(at.Slot, entry);
        if (at.Slot == 0)
        {
            _firsts[at.Leaf] = (nint)entry;
        }

        return entry;
    }

    public void Append(KeyEntry* entry, RevisionItem item)
    {
        Bytes -= entry->BlockBytes;
        LiveCount -= Lives(entry);
        KeyEntry.Append(entry, item);
        LiveCount += Lives(entry);
        Bytes += entry->BlockBytes;
    }

    /// <summary>As <see cref="Append"/>; false when the key has a later change already.</summary>
    public bool TryAppend(KeyCursor at, RevisionItem item)
    {
        KeyEntry* entry = At(at);
        if (entry->Newest.Main > item.Main)
        {
            return false;
        }

        Append(entry, item);
        return true;
    }

    public void DropOldest(KeyEntry* entry, int count)
    {
        Bytes -= entry->BlockBytes;
        KeyEntry.DropOldest(entry, count);
        Bytes += entry->BlockBytes;
    }

    public void RemoveAt(KeyCursor at)
    {
        Leaf leaf = _leaves[at.Leaf];
        KeyEntry* entry = leaf.Entry(at.Slot);
        leaf.RemoveAt(at.Slot);
        if (leaf.Count == 0 && _leafCount > 1)
        {
            RemoveLeaf(at.Leaf);
        }
        else if (at.Slot == 0)
        {
            _firsts[at.Leaf] = leaf.Count == 0 ? 0 : (nint)leaf.Entry(0);
        }

        Count--;
        LiveCount -= Lives(entry);
        Bytes -= sizeof(KeyEntry) + entry->BlockBytes;
        KeyEntry.FreeBlock(entry);
        _entries.Return(entry);
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

    /// <summary>Where a range ends that begins at <paramref name="start"/>. End: empty for the one key, a zero byte for all that follow.</summary>
    public KeyCursor EndOf(KeyCursor start, ReadOnlySpan<byte> key, ReadOnlySpan<byte> end)
    {
        if (end.IsEmpty)
        {
            KeyEntry* entry = At(start);
            KeyCursor after = start;
            if (entry != null && Key(entry).SequenceEqual(key))
            {
                Next(ref after);
            }

            return after;
        }

        return KeyRange.IsUnbounded(end) ? new KeyCursor { Leaf = _leafCount } : LowerBound(end);
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
                KeyEntry.FreeBlock(_leaves[i].Entry(slot));
            }
        }

        _entries.Dispose();
        _leaves = [new Leaf()];
        _firsts = [0];
        _leafCount = 1;
        Count = 0;
        LiveCount = 0;
        Bytes = 0;
    }

    private static int Lives(KeyEntry* entry) => entry->Newest.Address.IsTombstone ? 0 : 1;

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
            if (Key((KeyEntry*)_firsts[middle]).SequenceCompareTo(key) <= 0)
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
            Array.Resize(ref _firsts, _leaves.Length);
        }

        Array.Copy(_leaves, at, _leaves, at + 1, _leafCount - at);
        Array.Copy(_firsts, at, _firsts, at + 1, _leafCount - at);
        _leaves[at] = leaf;
        _firsts[at] = leaf.Count == 0 ? 0 : (nint)leaf.Entry(0);
        _leafCount++;
    }

    private void RemoveLeaf(int at)
    {
        Array.Copy(_leaves, at + 1, _leaves, at, _leafCount - at - 1);
        Array.Copy(_firsts, at + 1, _firsts, at, _leafCount - at - 1);
        _leaves[--_leafCount] = null!;
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
                if (Key((KeyEntry*)_entries[middle]).SequenceCompareTo(key) < 0)
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

        /// <summary>Moves the upper half away; nothing when keys come in rising order, so that such leaves stay full.</summary>
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

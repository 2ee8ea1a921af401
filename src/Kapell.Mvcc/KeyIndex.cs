using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>A place in a <see cref="KeyIndex"/>; valid until the index is changed.</summary>
internal struct KeyCursor
{
    public int Branch;
    public int Leaf;
    public int Slot;

    public readonly bool IsBefore(in KeyCursor other) => Branch != other.Branch ? Branch < other.Branch
        : Leaf != other.Leaf ? Leaf < other.Leaf
        : Slot < other.Slot;
}

/// <summary>
/// The keys in byte order: a B+tree of height three. Leaves of up to 128 keys hang on branches of up to 256 leaves, and these on a root
/// as wide as it must be: with ten million keys some hundreds of branches, which stay in the processor's caches. No leaf and no branch is
/// ever empty. Owns its entries; a key is read from its newest record, which must stay as long as its entry.
/// </summary>
internal sealed unsafe class KeyIndex : IDisposable
{
    private const int LeafSlots = 128;
    private const int BranchSlots = 256;
    private const int RootSlotsFirst = 16;

    private readonly KeyEntryPool _entries = new();
    private Level<Level<KeyRun>> _root = new(RootSlotsFirst);

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
        if (_root.Count == 0)
        {
            return false;
        }

        cursor.Branch = _root.ChildOf(key);
        Level<KeyRun> branch = _root[cursor.Branch];
        cursor.Leaf = branch.ChildOf(key);
        cursor.Slot = branch[cursor.Leaf].LowerBound(key, out bool found);
        return found;
    }

    /// <summary>A new key at the place that <see cref="TryFind"/> gave for it.</summary>
    public KeyEntry* Insert(KeyCursor at, RevisionItem first)
    {
        KeyEntry* entry = _entries.Take();
        KeyEntry.Initialize(entry, first);
        Count++;
        LiveCount += Lives(entry);
        Bytes += sizeof(KeyEntry);
        if (_root.Count == 0)
        {
            Level<KeyRun> only = new(BranchSlots);
            KeyRun keys = new(LeafSlots);
            keys.Insert(0, entry);
            only.Insert(0, keys, entry);
            _root.Insert(0, only, entry);
            return entry;
        }

        KeyRun leaf = LeafWithRoom(ref at);
        leaf.Insert(at.Slot, entry);
        if (at.Slot == 0)
        {
            BeginsWith(at, entry);
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

    /// <summary>For a store being read: one more revision of a key, or its first.</summary>
    /// <exception cref="FormatException">The key has a later change already.</exception>
    public void Restore(ReadOnlySpan<byte> key, RevisionItem item)
    {
        if (!TryFind(key, out KeyCursor cursor))
        {
            Insert(cursor, item);
            return;
        }

        KeyEntry* entry = At(cursor);
        if (entry->Newest.Main > item.Main)
        {
            throw new FormatException($"a change of revision {item.Main} stands behind a later one of the same key");
        }

        Append(entry, item);
    }

    public void DropOldest(KeyEntry* entry, int count)
    {
        Bytes -= entry->BlockBytes;
        KeyEntry.DropOldest(entry, count);
        Bytes += entry->BlockBytes;
    }

    public void RemoveAt(KeyCursor at)
    {
        Level<KeyRun> branch = _root[at.Branch];
        KeyRun leaf = branch[at.Leaf];
        KeyEntry* entry = leaf[at.Slot];
        leaf.RemoveAt(at.Slot);
        if (leaf.Count == 0)
        {
            RemoveLeaf(branch, at);
        }
        else if (at.Slot == 0)
        {
            BeginsWith(at, leaf[0]);
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
        TryFind(key, out KeyCursor cursor);
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

        return KeyRange.IsUnbounded(end) ? new KeyCursor { Branch = _root.Count } : LowerBound(end);
    }

    /// <summary>The entry at the cursor, or null at the end.</summary>
    public KeyEntry* At(in KeyCursor cursor)
    {
        if (cursor.Branch >= _root.Count)
        {
            return null;
        }

        KeyRun leaf = _root[cursor.Branch][cursor.Leaf];
        return cursor.Slot < leaf.Count ? leaf[cursor.Slot] : null;
    }

    public void Next(ref KeyCursor cursor)
    {
        cursor.Slot++;
        Settle(ref cursor);
    }

    public void Dispose()
    {
        for (int i = 0; i < _root.Count; i++)
        {
            Level<KeyRun> branch = _root[i];
            for (int j = 0; j < branch.Count; j++)
            {
                for (int slot = 0; slot < branch[j].Count; slot++)
                {
                    KeyEntry.FreeBlock(branch[j][slot]);
                }

                branch[j].Dispose();
            }

            branch.Dispose();
        }

        _root.Dispose();
        _root = new Level<Level<KeyRun>>(RootSlotsFirst);
        _entries.Dispose();
        Count = 0;
        LiveCount = 0;
        Bytes = 0;
    }

    private static int Lives(KeyEntry* entry) => entry->Newest.Address.IsTombstone ? 0 : 1;

    /// <summary>How many stay when a full node is parted: half, or all when keys come in rising order, so that such nodes stay full.</summary>
    private static int Keep(int count, int insertingAt) => insertingAt == count ? count - 1 : count / 2;

    /// <summary>From behind the last key of a leaf to the first of the next.</summary>
    private void Settle(ref KeyCursor cursor)
    {
        if (cursor.Branch >= _root.Count || cursor.Slot < _root[cursor.Branch][cursor.Leaf].Count)
        {
            return;
        }

        cursor.Slot = 0;
        if (++cursor.Leaf == _root[cursor.Branch].Count)
        {
            cursor.Leaf = 0;
            cursor.Branch++;
        }
    }

    /// <summary>The leaf at the cursor, parted if it was full; the cursor follows the place it named.</summary>
    private KeyRun LeafWithRoom(ref KeyCursor at)
    {
        Level<KeyRun> branch = _root[at.Branch];
        KeyRun leaf = branch[at.Leaf];
        if (leaf.Count < LeafSlots)
        {
            return leaf;
        }

        if (branch.Count == BranchSlots)
        {
            Level<KeyRun> rightBranch = branch.Part(Keep(branch.Count, at.Leaf + 1));
            _root.Insert(at.Branch + 1, rightBranch, rightBranch[0][0]);
            if (at.Leaf >= branch.Count)
            {
                at.Leaf -= branch.Count;
                at.Branch++;
                branch = rightBranch;
            }
        }

        KeyRun right = leaf.Part(Keep(leaf.Count, at.Slot));
        branch.Insert(at.Leaf + 1, right, right[0]);
        if (at.Slot > leaf.Count)
        {
            at.Slot -= leaf.Count;
            at.Leaf++;
            return right;
        }

        return leaf;
    }

    private void RemoveLeaf(Level<KeyRun> branch, KeyCursor at)
    {
        branch[at.Leaf].Dispose();
        branch.RemoveAt(at.Leaf);
        if (branch.Count == 0)
        {
            branch.Dispose();
            _root.RemoveAt(at.Branch);
        }
        else if (at.Leaf == 0)
        {
            _root.BeginsWith(at.Branch, branch[0][0]);
        }
    }

    /// <summary>The leaf at the cursor has another first key.</summary>
    private void BeginsWith(in KeyCursor at, KeyEntry* first)
    {
        _root[at.Branch].BeginsWith(at.Leaf, first);
        if (at.Leaf == 0)
        {
            _root.BeginsWith(at.Branch, first);
        }
    }

    /// <summary>Nodes in the order of their keys, and the first entry of each.</summary>
    private sealed class Level<T> : IDisposable
        where T : class
    {
        private readonly KeyRun _firsts;
        private T[] _nodes;

        public Level(int capacity)
            : this(new KeyRun(capacity), new T[capacity])
        {
        }

        private Level(KeyRun firsts, T[] nodes) => (_firsts, _nodes) = (firsts, nodes);

        public int Count => _firsts.Count;

        public T this[int at] => _nodes[at];

        /// <summary>The last node whose first key is not after the key; the first node when there is none.</summary>
        public int ChildOf(ReadOnlySpan<byte> key)
        {
            int slot = _firsts.LowerBound(key, out bool found);
            return found || slot == 0 ? slot : slot - 1;
        }

        public void Insert(int at, T node, KeyEntry* first)
        {
            if (Count == _nodes.Length)
            {
                Array.Resize(ref _nodes, _nodes.Length * 2);
            }

            Array.Copy(_nodes, at, _nodes, at + 1, Count - at);
            _nodes[at] = node;
            _firsts.Insert(at, first);
        }

        public void RemoveAt(int at)
        {
            Array.Copy(_nodes, at + 1, _nodes, at, Count - at - 1);
            _nodes[Count - 1] = null!;
            _firsts.RemoveAt(at);
        }

        public void BeginsWith(int at, KeyEntry* first) => _firsts.Replace(at, first);

        public Level<T> Part(int keep)
        {
            T[] nodes = new T[_nodes.Length];
            Array.Copy(_nodes, keep, nodes, 0, Count - keep);
            Array.Clear(_nodes, keep, Count - keep);
            return new Level<T>(_firsts.Part(keep), nodes);
        }

        public void Dispose() => _firsts.Dispose();
    }
}

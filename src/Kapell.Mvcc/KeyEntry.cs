using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>One revision of a key.</summary>
internal struct RevisionItem
{
    public long Main;
    public RecordAddress Address;
}

/// <summary>
/// A key's revisions, oldest first, in unmanaged memory: 24 bytes while there is one revision, the usual case, and a second block when
/// there are more. The key itself, and all else about it, stands in the records: with millions of keys a second copy would be a fifth of
/// the memory. The address of an entry is stable until it is freed.
/// </summary>
internal unsafe struct KeyEntry
{
    public int Count;
    private int _capacity;

    /// <summary>
    /// The revision while there is room for one; else in <see cref="RevisionItem.Main"/> the address of the second block, and in place of the
    /// address the number of revisions at its beginning that were forgotten.
    /// </summary>
    private RevisionItem _inline;

    public readonly RevisionItem* Items => _capacity > 1
        ? Block + Forgotten
        : (RevisionItem*)Unsafe.AsPointer(ref Unsafe.AsRef(in _inline));

    public readonly RevisionItem Newest => Items[Count - 1];

    /// <summary>Bytes of the second block.</summary>
    public readonly long BlockBytes => _capacity > 1 ? _capacity * (long)sizeof(RevisionItem) : 0;

    private readonly RevisionItem* Block => (RevisionItem*)_inline.Main;

    private int Forgotten
    {
        readonly get => (int)_inline.Address.Value;
        set => _inline.Address = new RecordAddress((ulong)value);
    }

    public static void Initialize(KeyEntry* entry, RevisionItem item) =>
        *entry = new KeyEntry { Count = 1, _capacity = 1, _inline = item };

    /// <summary>Frees the second block; the entry itself is its owner's.</summary>
    public static void FreeBlock(KeyEntry* entry)
    {
        if (entry->_capacity > 1)
        {
            NativeMemory.Free(entry->Block);
        }
    }

    public static void Append(KeyEntry* entry, RevisionItem item)
    {
        Check.That(entry->Newest.Main <= item.Main);
        if (entry->Count == entry->_capacity)
        {
            Move(entry, entry->_capacity * 2);
        }
        else if (entry->_capacity > 1 && entry->Forgotten + entry->Count == entry->_capacity)
        {
            // A quarter of the block is free afterwards, or half: so many more come before anything is moved again.
            Move(entry, entry->Forgotten >= entry->_capacity / 4 ? entry->_capacity : entry->_capacity * 2);
        }

        entry->Items[entry->Count++] = item;
    }

    /// <summary>
    /// Forgets the oldest <paramref name="count"/> revisions; one must stay. A compaction forgets those of a key one by one: what is left may
    /// not be moved each time, or a key with a million revisions would hold everybody up for an hour.
    /// </summary>
    public static void DropOldest(KeyEntry* entry, int count)
    {
        Check.That(count > 0 && count < entry->Count);
        entry->Count -= count;
        entry->Forgotten += count;
        if (entry->Count == 1)
        {
            RevisionItem last = entry->Newest;
            FreeBlock(entry);
            Initialize(entry, last);
        }
        else if (entry->Count <= entry->_capacity / 4)
        {
            Move(entry, entry->_capacity / 2);
        }
    }

    /// <summary>The index of the newest revision not after <paramref name="main"/>, or -1.</summary>
    public static int IndexAt(KeyEntry* entry, long main)
    {
        RevisionItem* items = entry->Items;
        int high = entry->Count - 1;
        if (items[high].Main <= main)
        {
            return high;
        }

        int low = -1;
        while (high - low > 1)
        {
            int middle = (low + high) >>> 1;
            if (items[middle].Main <= main)
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

    /// <summary>Into a block of this many, from its beginning on.</summary>
    private static void Move(KeyEntry* entry, int capacity)
    {
        Check.That(capacity > 1 && entry->Count <= capacity);
        Span<RevisionItem> left = new(entry->Items, entry->Count);
        if (capacity == entry->_capacity)
        {
            left.CopyTo(new Span<RevisionItem>(entry->Block, capacity));
            entry->Forgotten = 0;
            return;
        }

        RevisionItem* block = (RevisionItem*)NativeMemory.Alloc((nuint)(capacity * (long)sizeof(RevisionItem)));
        left.CopyTo(new Span<RevisionItem>(block, capacity));
        FreeBlock(entry);
        entry->_inline.Main = (nint)block;
        entry->_capacity = capacity;
        entry->Forgotten = 0;
    }

    /// <summary>The index of a change that is there. A key may have several in one revision: deleted and put again by one transaction.</summary>
    public static int IndexOf(KeyEntry* entry, LogItem change)
    {
        int at = IndexAt(entry, change.Main);
        while (entry->Items[at].Address.Record != change.Address.Record)
        {
            Check.That(at > 0 && entry->Items[at - 1].Main == change.Main);
            at--;
        }

        return at;
    }
}

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
/// A key and its revisions, oldest first, in unmanaged memory; the bytes of the key follow the structure. A key with one revision,
/// the usual case, needs no second block. The address of an entry is stable until <see cref="Free"/>.
/// </summary>
internal unsafe struct KeyEntry
{
    public int KeyLength;
    public int Count;
    public int Capacity;
    public RevisionItem* Items;

    /// <summary>Of the newest revision, zero after a tombstone.</summary>
    public long Create;
    public long Version;
    public long Lease;
    private RevisionItem _inline;

    public static KeyEntry* Allocate(ReadOnlySpan<byte> key)
    {
        KeyEntry* entry = (KeyEntry*)NativeMemory.Alloc((nuint)(sizeof(KeyEntry) + key.Length));
        *entry = default;
        entry->KeyLength = key.Length;
        entry->Capacity = 1;
        entry->Items = &entry->_inline;
        key.CopyTo(new Span<byte>(entry + 1, key.Length));
        return entry;
    }

    public static ReadOnlySpan<byte> Key(KeyEntry* entry) => new(entry + 1, entry->KeyLength);

    public static long SizeOf(KeyEntry* entry) =>
        sizeof(KeyEntry) + entry->KeyLength + (entry->Capacity > 1 ? entry->Capacity * sizeof(RevisionItem) : 0);

    public static void Free(KeyEntry* entry)
    {
        if (entry->Capacity > 1)
        {
            NativeMemory.Free(entry->Items);
        }

        NativeMemory.Free(entry);
    }

    public static void Append(KeyEntry* entry, RevisionItem item)
    {
        Check.That(entry->Count == 0 || entry->Items[entry->Count - 1].Main <= item.Main);
        if (entry->Count == entry->Capacity)
        {
            int capacity = entry->Capacity == 1 ? 4 : entry->Capacity * 2;
            RevisionItem* items = (RevisionItem*)NativeMemory.Alloc((nuint)(capacity * sizeof(RevisionItem)));
            new ReadOnlySpan<RevisionItem>(entry->Items, entry->Count).CopyTo(new Span<RevisionItem>(items, capacity));
            if (entry->Capacity > 1)
            {
                NativeMemory.Free(entry->Items);
            }

            entry->Items = items;
            entry->Capacity = capacity;
        }

        entry->Items[entry->Count++] = item;
    }

    /// <summary>Forgets the oldest <paramref name="count"/> revisions.</summary>
    public static void DropOldest(KeyEntry* entry, int count)
    {
        Check.That(count <= entry->Count);
        int left = entry->Count - count;
        new ReadOnlySpan<RevisionItem>(entry->Items + count, left).CopyTo(new Span<RevisionItem>(entry->Items, left));
        entry->Count = left;
        if (left <= 1 && entry->Capacity > 1)
        {
            RevisionItem* items = entry->Items;
            entry->_inline = left == 1 ? items[0] : default;
            entry->Items = &entry->_inline;
            entry->Capacity = 1;
            NativeMemory.Free(items);
        }
    }

    /// <summary>The index of the newest revision not after <paramref name="main"/>, or -1.</summary>
    public static int IndexAt(KeyEntry* entry, long main)
    {
        int high = entry->Count - 1;
        if (high >= 0 && entry->Items[high].Main <= main)
        {
            return high;
        }

        int low = -1;
        while (high - low > 1)
        {
            int middle = (low + high) >>> 1;
            if (entry->Items[middle].Main <= main)
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
}

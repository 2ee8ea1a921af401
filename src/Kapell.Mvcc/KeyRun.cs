using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Kapell.Mvcc;

/// <summary>
/// Entries in key order. Beside each stand four bytes of its key, those after the prefix that all keys here share, so that a search
/// visits the memory of a key only where these are equal: in a store of millions of keys each visit waits for memory twice.
/// The prefix grows when a run is parted and shrinks when a key comes that has it not. Owns no entry.
/// </summary>
internal sealed unsafe class KeyRun : IDisposable
{
    /// <summary>Keys may be long; more of a prefix than this helps nobody.</summary>
    private const int PrefixBytesMax = 256;

    private nint* _entries;
    private uint* _heads;
    private byte[] _prefix = [];
    private int _capacity;

    /// <param name="capacity">Entries there is room for at first.</param>
    public KeyRun(int capacity) => Allocate(capacity);

    public int Count { get; private set; }

    public KeyEntry* this[int slot] => (KeyEntry*)_entries[slot];

    /// <summary>The first slot whose key is not before <paramref name="key"/>; <paramref name="found"/> when it is the key.</summary>
    public int LowerBound(ReadOnlySpan<byte> key, out bool found)
    {
        found = false;
        ReadOnlySpan<byte> prefix = _prefix;
        if (!key.StartsWith(prefix))
        {
            return key.SequenceCompareTo(prefix) < 0 ? 0 : Count;
        }

        uint head = HeadOf(key, prefix.Length);
        int low = FirstHead(0, head);
        int high = low == Count || _heads[low] != head ? low : head == uint.MaxValue ? Count : FirstHead(low + 1, head + 1);
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            int order = KeyIndex.Key(this[middle]).SequenceCompareTo(key);
            if (order == 0)
            {
                found = true;
                return middle;
            }

            (low, high) = order < 0 ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    public void Insert(int slot, KeyEntry* entry)
    {
        if (Count == _capacity)
        {
            Grow();
        }

        MoveUp(_entries, slot);
        MoveUp(_heads, slot);
        Count++;
        Replace(slot, entry);
    }

    /// <summary>Another entry at a slot; that which was there is not looked at.</summary>
    public void Replace(int slot, KeyEntry* entry)
    {
        _entries[slot] = (nint)entry;
        ReadOnlySpan<byte> key = KeyIndex.Key(entry);
        int common = key.CommonPrefixLength(_prefix);
        if (common < _prefix.Length)
        {
            UsePrefix(key[..common]);
        }
        else
        {
            _heads[slot] = HeadOf(key, common);
        }
    }

    public void RemoveAt(int slot)
    {
        int after = Count - slot - 1;
        new ReadOnlySpan<nint>(_entries + slot + 1, after).CopyTo(new Span<nint>(_entries + slot, after));
        new ReadOnlySpan<uint>(_heads + slot + 1, after).CopyTo(new Span<uint>(_heads + slot, after));
        Count--;
    }

    /// <summary>All but the first <paramref name="keep"/> entries, in a run of their own.</summary>
    public KeyRun Part(int keep)
    {
        KeyRun right = new(_capacity) { Count = Count - keep, _prefix = _prefix };
        new ReadOnlySpan<nint>(_entries + keep, right.Count).CopyTo(new Span<nint>(right._entries, right.Count));
        new ReadOnlySpan<uint>(_heads + keep, right.Count).CopyTo(new Span<uint>(right._heads, right.Count));
        Count = keep;
        LengthenPrefix();
        right.LengthenPrefix();
        return right;
    }

    public void Dispose()
    {
        NativeMemory.Free(_entries);
        _entries = null;
        _heads = null;
        Count = 0;
        _capacity = 0;
    }

    /// <summary>Four bytes of a key as a number that orders as they do; what is not there counts as zeros.</summary>
    private static uint HeadOf(ReadOnlySpan<byte> key, int at)
    {
        ReadOnlySpan<byte> rest = key[at..];
        if (rest.Length >= sizeof(uint))
        {
            return BinaryPrimitives.ReadUInt32BigEndian(rest);
        }

        uint head = 0;
        for (int i = 0; i < rest.Length; i++)
        {
            head |= (uint)rest[i] << (24 - (8 * i));
        }

        return head;
    }

    private int FirstHead(int low, uint head)
    {
        int high = Count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = _heads[middle] < head ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    private void LengthenPrefix()
    {
        if (Count > 0)
        {
            ReadOnlySpan<byte> first = KeyIndex.Key(this[0]);
            int common = Math.Min(first.CommonPrefixLength(KeyIndex.Key(this[Count - 1])), PrefixBytesMax);
            if (common > _prefix.Length)
            {
                UsePrefix(first[..common]);
            }
        }
    }

    private void UsePrefix(ReadOnlySpan<byte> prefix)
    {
        _prefix = prefix.ToArray();
        for (int slot = 0; slot < Count; slot++)
        {
            _heads[slot] = HeadOf(KeyIndex.Key(this[slot]), _prefix.Length);
        }
    }

    private void MoveUp<T>(T* items, int slot)
        where T : unmanaged => new ReadOnlySpan<T>(items + slot, Count - slot).CopyTo(new Span<T>(items + slot + 1, Count - slot));

    private void Grow()
    {
        nint* entries = _entries;
        uint* heads = _heads;
        Allocate(_capacity * 2);
        new ReadOnlySpan<nint>(entries, Count).CopyTo(new Span<nint>(_entries, Count));
        new ReadOnlySpan<uint>(heads, Count).CopyTo(new Span<uint>(_heads, Count));
        NativeMemory.Free(entries);
    }

    private void Allocate(int capacity)
    {
        _entries = (nint*)NativeMemory.Alloc((nuint)capacity, (nuint)(sizeof(nint) + sizeof(uint)));
        _heads = (uint*)(_entries + capacity);
        _capacity = capacity;
    }
}

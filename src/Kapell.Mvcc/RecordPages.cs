using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// Records in append-only pages outside the collected heap. A page is given back when its last record is released; a page that
/// is mostly dead is emptied by its owner (<see cref="FindSparse"/>, <see cref="Walk"/>) in small steps.
/// A record is its length (4 bytes, the top bit set once it is dead), its place within its revision (4 bytes) and its bytes.
/// </summary>
internal sealed unsafe class RecordPages : IDisposable
{
    private const int PageBytes = 1 << 20;
    private const int LengthBytes = 4;
    private const int HeaderBytes = 8;
    private const uint DeadBit = 0x8000_0000;

    private readonly List<Page> _pages = [];
    private readonly Stack<int> _freeSlots = new();
    private int _current = -1;
    private int _sparseCursor;

    /// <summary>Bytes of records that somebody can still read.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>Bytes held from the system.</summary>
    public long AllocatedBytes { get; private set; }

    /// <param name="sub">Its place among the changes of one revision: the second half of etcd's revisions.</param>
    public RecordAddress Append(int length, uint sub, bool tombstone, out Span<byte> into)
    {
        Check.That(length > 0);
        int needed = length + HeaderBytes;
        if (_current < 0 || _pages[_current].Capacity - _pages[_current].Used < needed)
        {
            OpenPage(needed);
        }

        Page page = _pages[_current];
        int offset = page.Used;
        page.Used += needed;
        page.LiveBytes += needed;
        LiveBytes += needed;
        BinaryPrimitives.WriteInt32LittleEndian(new Span<byte>(page.Start + offset, LengthBytes), length);
        BinaryPrimitives.WriteUInt32LittleEndian(new Span<byte>(page.Start + offset + LengthBytes, LengthBytes), sub);
        into = new Span<byte>(page.Start + offset + HeaderBytes, length);
        return new RecordAddress(_current, offset, tombstone);
    }

    public ReadOnlySpan<byte> Read(RecordAddress address)
    {
        Page page = _pages[address.Page];
        uint length = *(uint*)(page.Start + address.Offset);
        Check.That(length < DeadBit);
        return new ReadOnlySpan<byte>(page.Start + address.Offset + HeaderBytes, (int)length);
    }

    public uint SubOf(RecordAddress address) => BinaryPrimitives.ReadUInt32LittleEndian(
        new ReadOnlySpan<byte>(_pages[address.Page].Start + address.Offset + LengthBytes, LengthBytes));

    public void Release(RecordAddress address)
    {
        Page page = _pages[address.Page];
        uint* header = (uint*)(page.Start + address.Offset);
        Check.That(*header < DeadBit);
        int bytes = (int)*header + HeaderBytes;
        *header |= DeadBit;
        page.LiveBytes -= bytes;
        LiveBytes -= bytes;
        if (page.LiveBytes == 0 && address.Page != _current)
        {
            ClosePage(address.Page);
        }
    }

    /// <summary>A sealed page of which less than half is alive, or -1; looks at no more than <paramref name="budget"/> pages.</summary>
    public int FindSparse(int budget)
    {
        for (int i = 0; i < budget && _pages.Count > 0; i++)
        {
            _sparseCursor = (_sparseCursor + 1) % _pages.Count;
            Page page = _pages[_sparseCursor];
            if (page.Start != null && _sparseCursor != _current && page.LiveBytes < page.Used / 2)
            {
                return _sparseCursor;
            }
        }

        return -1;
    }

    /// <summary>The offset of the first live record at or after <paramref name="offset"/>, or -1.</summary>
    public int Walk(int pageIndex, int offset)
    {
        Page page = _pages[pageIndex];
        while (page.Start != null && offset < page.Used)
        {
            uint header = *(uint*)(page.Start + offset);
            if (header < DeadBit)
            {
                return offset;
            }

            offset += (int)(header & ~DeadBit) + HeaderBytes;
        }

        return -1;
    }

    public void Dispose()
    {
        for (int i = 0; i < _pages.Count; i++)
        {
            if (_pages[i].Start != null)
            {
                ClosePage(i);
            }
        }

        _current = -1;
    }

    private void OpenPage(int needed)
    {
        int before = _current;
        int capacity = Math.Max(PageBytes, needed);
        Page page = new() { Start = (byte*)NativeMemory.Alloc((nuint)capacity), Capacity = capacity };
        AllocatedBytes += capacity;
        if (_freeSlots.TryPop(out int slot))
        {
            _pages[slot] = page;
        }
        else
        {
            slot = _pages.Count;
            _pages.Add(page);
        }

        _current = slot;
        if (before >= 0 && _pages[before].LiveBytes == 0)
        {
            ClosePage(before);
        }
    }

    private void ClosePage(int index)
    {
        Page page = _pages[index];
        NativeMemory.Free(page.Start);
        page.Start = null;
        AllocatedBytes -= page.Capacity;
        _freeSlots.Push(index);
    }

    private sealed class Page
    {
        public byte* Start;
        public int Capacity;
        public int Used;
        public int LiveBytes;
    }
}

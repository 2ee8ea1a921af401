using System.Buffers.Binary;
using Kapell.Base;

namespace Kapell.Storage.Bolt;

/// <summary>The elements of one page until it is full; used again for the next page of its level.</summary>
internal sealed class BoltPageBuilder(ushort flags)
{
    // A branch with a single child would make no progress towards the top.
    private readonly int _elementsMin = flags == BoltFormat.BranchPage ? 2 : 1;
    private readonly List<Element> _elements = [];
    private byte[] _data = new byte[4096];
    private int _dataBytes;
    private byte[] _page = [];

    /// <summary>Pages made so far.</summary>
    public int Written { get; private set; }

    public ReadOnlySpan<byte> FirstKey => _data.AsSpan(0, _elements[0].KeyBytes);

    public bool HasRoomFor(int bytes, int pageBytes)
    {
        int used = BoltFormat.PageHeadBytes + (_elements.Count * BoltFormat.ElementBytes) + _dataBytes;
        return _elements.Count < _elementsMin
            || (used + BoltFormat.ElementBytes + (long)bytes <= pageBytes && _elements.Count < ushort.MaxValue - 1);
    }

    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, uint elementFlags, ulong child)
    {
        int needed = checked(_dataBytes + key.Length + value.Length);
        if (_data.Length < needed)
        {
            Array.Resize(ref _data, Math.Max(needed, Math.Min(_data.Length * 2, 1 << 24)));
        }

        key.CopyTo(_data.AsSpan(_dataBytes));
        value.CopyTo(_data.AsSpan(_dataBytes + key.Length));
        _elements.Add(new Element(_dataBytes, key.Length, value.Length, elementFlags, child));
        _dataBytes = needed;
    }

    /// <summary>The page with its overflow, in a buffer that is valid until the next call; the builder is empty then.</summary>
    public ReadOnlySpan<byte> Finish(ulong id, int pageBytes)
    {
        int elementsEnd = BoltFormat.PageHeadBytes + (_elements.Count * BoltFormat.ElementBytes);
        int used = checked(elementsEnd + _dataBytes);
        int pages = (used + pageBytes - 1) / pageBytes;
        if (_page.Length < pages * pageBytes)
        {
            _page = new byte[pages * pageBytes];
        }

        Span<byte> page = _page.AsSpan(0, pages * pageBytes);
        page[used..].Clear();
        BoltFormat.WritePageHead(page, id, flags, _elements.Count, (uint)(pages - 1));
        for (int i = 0; i < _elements.Count; i++)
        {
            int at = BoltFormat.PageHeadBytes + (i * BoltFormat.ElementBytes);
            WriteElement(page.Slice(at, BoltFormat.ElementBytes), _elements[i], (uint)(elementsEnd + _elements[i].Data - at));
        }

        _data.AsSpan(0, _dataBytes).CopyTo(page[elementsEnd..]);
        _elements.Clear();
        _dataBytes = 0;
        Written++;
        return page;
    }

    private void WriteElement(Span<byte> into, Element element, uint position)
    {
        Check.That(flags == BoltFormat.LeafPage || element.ValueBytes == 0);
        if (flags == BoltFormat.BranchPage)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(into, position);
            BinaryPrimitives.WriteInt32LittleEndian(into[4..], element.KeyBytes);
            BinaryPrimitives.WriteUInt64LittleEndian(into[8..], element.Child);
            return;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(into, element.Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(into[4..], position);
        BinaryPrimitives.WriteInt32LittleEndian(into[8..], element.KeyBytes);
        BinaryPrimitives.WriteInt32LittleEndian(into[12..], element.ValueBytes);
    }

    private readonly record struct Element(int Data, int KeyBytes, int ValueBytes, uint Flags, ulong Child);
}

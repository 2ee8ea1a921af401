using System.Buffers.Binary;
using System.Collections.Immutable;

namespace Kapell.Raft.Encoding;

/// <summary>Reads what <see cref="ByteWriter"/> wrote. After the first field that does not fit, all are zero and <see cref="Good"/> is false.</summary>
internal ref struct ByteReader(ReadOnlyMemory<byte> input)
{
    private ReadOnlyMemory<byte> _rest = input;

    public bool Good { get; private set; } = true;

    /// <summary>Everything was read and nothing is left over.</summary>
    public readonly bool AtGoodEnd => Good && _rest.IsEmpty;

    public byte Byte()
    {
        ReadOnlyMemory<byte> bytes = Take(1);
        return bytes.IsEmpty ? (byte)0 : bytes.Span[0];
    }

    public bool Bool()
    {
        byte value = Byte();
        Good &= value <= 1;
        return value == 1;
    }

    public uint UInt32()
    {
        ReadOnlyMemory<byte> bytes = Take(sizeof(uint));
        return bytes.IsEmpty ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(bytes.Span);
    }

    public ulong UInt64()
    {
        ReadOnlyMemory<byte> bytes = Take(sizeof(ulong));
        return bytes.IsEmpty ? 0 : BinaryPrimitives.ReadUInt64LittleEndian(bytes.Span);
    }

    /// <summary>A part of the input, not a copy.</summary>
    public ReadOnlyMemory<byte> Bytes()
    {
        uint length = UInt32();
        return Take(length);
    }

    public MemberId Member() => new(UInt64());

    public Term Term() => new(UInt64());

    public LogIndex Index() => new(UInt64());

    public LogPosition Position()
    {
        Term term = Term();
        return new LogPosition(term, Index());
    }

    public EntryKind Kind()
    {
        byte value = Byte();
        Good &= value <= (byte)EntryKind.ConfChange;
        return (EntryKind)value;
    }

    /// <summary>A count of things of at least this size: never more than the input can hold.</summary>
    public int Count(int bytesEach)
    {
        uint count = UInt32();
        if (count > (uint)(_rest.Length / bytesEach))
        {
            Good = false;
            return 0;
        }

        return (int)count;
    }

    public ImmutableArray<MemberId> Members()
    {
        MemberId[] ids = new MemberId[Count(sizeof(ulong))];
        for (int i = 0; i < ids.Length; i++)
        {
            ids[i] = Member();
        }

        return ImmutableArray.Create(ids);
    }

    private ReadOnlyMemory<byte> Take(uint count)
    {
        if (!Good || count > (uint)_rest.Length)
        {
            Good = false;
            return default;
        }

        ReadOnlyMemory<byte> taken = _rest[..(int)count];
        _rest = _rest[(int)count..];
        return taken;
    }
}

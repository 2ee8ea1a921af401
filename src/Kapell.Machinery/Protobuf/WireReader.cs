namespace Kapell.Machinery.Protobuf;

/// <summary>The four wire types in use; groups (3, 4) have long been out of it and are refused.</summary>
internal enum WireType
{
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

/// <summary>Thrown for bytes that are no protobuf message; the text says what is wrong, without a place.</summary>
public sealed class WireFormatException(string message) : Exception(message);

/// <summary>Reads the fields of one message from a span; every length is checked against what is there.</summary>
internal ref struct WireReader(ReadOnlySpan<byte> message)
{
    private readonly ReadOnlySpan<byte> _message = message;

    public int At { get; private set; }

    public readonly bool IsAtEnd => At == _message.Length;

    /// <exception cref="WireFormatException">Cut short, number 0, or a wire type that is not in use.</exception>
    public (int Number, WireType Type) Tag()
    {
        ulong tag = Varint();
        int type = (int)(tag & 7);
        ulong number = tag >> 3;
        if (number is 0 or > 536870911)
        {
            throw new WireFormatException($"proto: illegal tag {number} (wire type {type})");
        }

        return type is 0 or 1 or 2 or 5
            ? ((int)number, (WireType)type)
            : throw new WireFormatException($"proto: illegal wireType {type}");
    }

    public ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            if (At == _message.Length)
            {
                throw Short();
            }

            byte b = _message[At++];
            value |= (ulong)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }

        throw new WireFormatException("proto: integer overflow");
    }

    public ulong Fixed64() => System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    public uint Fixed32() => System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    /// <summary>A length and so many bytes: where they begin and end in the message.</summary>
    public (int Start, int End) Bytes()
    {
        ulong length = Varint();
        if (length > (ulong)(_message.Length - At))
        {
            throw Short();
        }

        int start = At;
        At += (int)length;
        return (start, At);
    }

    public void Skip(WireType type)
    {
        _ = type switch
        {
            WireType.Varint => Varint(),
            WireType.Fixed64 => Fixed64(),
            WireType.Fixed32 => Fixed32(),
            _ => (ulong)Bytes().End,
        };
    }

    private ReadOnlySpan<byte> Take(int length)
    {
        if (length > _message.Length - At)
        {
            throw Short();
        }

        At += length;
        return _message.Slice(At - length, length);
    }

    private static WireFormatException Short() => new("unexpected EOF");
}

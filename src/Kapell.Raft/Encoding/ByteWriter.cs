using System.Buffers.Binary;
using Kapell.Base;

namespace Kapell.Raft.Encoding;

/// <summary>Little-endian fields, one after another, into memory of exactly their size.</summary>
internal ref struct ByteWriter(Span<byte> output)
{
    private Span<byte> _rest = output;

    /// <summary>Everything was filled.</summary>
    public readonly bool AtEnd => _rest.IsEmpty;

    public static int SizeOf(IReadOnlyList<MemberId> ids) => sizeof(uint) + (ids.Count * sizeof(ulong));

    public void Byte(byte value) => Take(1)[0] = value;

    public void Bool(bool value) => Byte(value ? (byte)1 : (byte)0);

    public void UInt32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Take(sizeof(uint)), value);

    public void UInt64(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Take(sizeof(ulong)), value);

    public void Bytes(ReadOnlySpan<byte> value)
    {
        UInt32((uint)value.Length);
        value.CopyTo(Take(value.Length));
    }

    public void Position(LogPosition value)
    {
        UInt64(value.Term.Value);
        UInt64(value.Index.Value);
    }

    public void Members(IReadOnlyList<MemberId> ids)
    {
        UInt32((uint)ids.Count);
        foreach (MemberId id in ids)
        {
            UInt64(id.Value);
        }
    }

    private Span<byte> Take(int bytes)
    {
        Span<byte> taken = _rest[..bytes];
        _rest = _rest[bytes..];
        return taken;
    }
}

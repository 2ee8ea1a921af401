using System.Buffers;
using System.Buffers.Binary;

namespace Kapell.Raft.Encoding;

/// <summary>Little-endian fields, one after another.</summary>
internal readonly struct ByteWriter(IBufferWriter<byte> output)
{
    public void Byte(byte value)
    {
        output.GetSpan(1)[0] = value;
        output.Advance(1);
    }

    public void Bool(bool value) => Byte(value ? (byte)1 : (byte)0);

    public void UInt32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(output.GetSpan(sizeof(uint)), value);
        output.Advance(sizeof(uint));
    }

    public void UInt64(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(output.GetSpan(sizeof(ulong)), value);
        output.Advance(sizeof(ulong));
    }

    public void Bytes(ReadOnlySpan<byte> value)
    {
        UInt32((uint)value.Length);
        output.Write(value);
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
}

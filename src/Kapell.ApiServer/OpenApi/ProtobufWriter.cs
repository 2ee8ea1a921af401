using System.Buffers;
using System.Text;

namespace Kapell.ApiServer.OpenApi;

/// <summary>Writes protobuf's wire format: the few field kinds that OpenAPI documents need.</summary>
internal sealed class ProtobufWriter
{
    private readonly ArrayBufferWriter<byte> _buffer = new();

    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    public void Text(int field, string value) => Bytes(field, Encoding.UTF8.GetBytes(value));

    public void Bool(int field, bool value)
    {
        Varint((ulong)field << 3);
        Varint(value ? 1u : 0u);
    }

    /// <summary>A nested message, written even when it is empty.</summary>
    public void Message(int field, Action<ProtobufWriter> write)
    {
        ProtobufWriter inner = new();
        write(inner);
        Bytes(field, inner.Written);
    }

    private void Bytes(int field, ReadOnlySpan<byte> value)
    {
        Varint(((ulong)field << 3) | 2);
        Varint((ulong)value.Length);
        _buffer.Write(value);
    }

    private void Varint(ulong value)
    {
        Span<byte> bytes = _buffer.GetSpan(10);
        int length = 0;
        while (value >= 0x80)
        {
            bytes[length++] = (byte)(value | 0x80);
            value >>= 7;
        }

        bytes[length++] = (byte)value;
        _buffer.Advance(length);
    }
}

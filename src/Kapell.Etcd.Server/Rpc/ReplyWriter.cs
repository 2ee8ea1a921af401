using System.Buffers;
using Google.Protobuf;
using Kapell.Etcd.Server.Calls;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// Writes protobuf by hand into one rented buffer: stored pairs are copied as they lie in the store. Numbers and bytes follow
/// proto3: zero is not written.
/// </summary>
/// <param name="bytesMax">Beyond so many bytes what is written is lost: <see cref="IsTooLarge"/>.</param>
public sealed class ReplyWriter(int capacity = 256, int bytesMax = ReplyWriter.ArrayBytesMax)
{
    /// <summary>What one array can hold, less than a piece that is written at once.</summary>
    public const int ArrayBytesMax = 1 << 30;

    private const int LengthBytesMax = 5;

    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(capacity + GrpcPayload.PrefixBytes);
    private int _at = GrpcPayload.PrefixBytes; // So that the message need not be copied to stand behind it.

    /// <summary>More was written than fits; what there is now is good for nothing, and the memory stays bounded.</summary>
    public bool IsTooLarge { get; private set; }

    public int Length => _at - GrpcPayload.PrefixBytes;

    /// <summary>The writer is used up.</summary>
    public Reply Finish()
    {
        Reply reply = new(_buffer, Length);
        _buffer = [];
        return reply;
    }

    /// <summary>In place of <see cref="Finish"/>: nothing of it is wanted any more.</summary>
    internal void Release()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    /// <summary>Copies what is written, and goes on with nothing.</summary>
    /// <returns>How much it was, in bytes.</returns>
    internal int MoveTo(Span<byte> into)
    {
        int length = Length;
        _buffer.AsSpan(GrpcPayload.PrefixBytes, length).CopyTo(into);
        _at = GrpcPayload.PrefixBytes;
        return length;
    }

    public void Number(int field, long value)
    {
        if (value != 0)
        {
            Reserve(16);
            Varint((ulong)field << 3);
            Varint(unchecked((ulong)value));
        }
    }

    public void Number(int field, ulong value) => Number(field, unchecked((long)value));

    public void Flag(int field, bool value) => Number(field, value ? 1L : 0L);

    public void Bytes(int field, ReadOnlySpan<byte> value)
    {
        if (!value.IsEmpty)
        {
            Nested(field, value);
        }
    }

    public void Text(int field, string value) => Bytes(field, System.Text.Encoding.UTF8.GetBytes(value));

    public void Message(int field, IMessage message)
    {
        int size = message.CalculateSize();
        Prefix(field, size);
        message.WriteTo(_buffer.AsSpan(_at, size));
        _at += size;
    }

    /// <summary>A message that is encoded already; also when it is empty.</summary>
    public void Nested(int field, ReadOnlySpan<byte> encoded)
    {
        Prefix(field, encoded.Length);
        encoded.CopyTo(_buffer.AsSpan(_at));
        _at += encoded.Length;
    }

    public void KeyValue(int field, in KeyValueRecord record, bool keysOnly)
    {
        if (!keysOnly)
        {
            Nested(field, record.Bytes);
            return;
        }

        ReadOnlySpan<byte> before = record.BeforeValue;
        ReadOnlySpan<byte> after = record.AfterValue;
        Prefix(field, before.Length + after.Length);
        before.CopyTo(_buffer.AsSpan(_at));
        after.CopyTo(_buffer.AsSpan(_at + before.Length));
        _at += before.Length + after.Length;
    }

    /// <summary>Begins a message whose length is not known yet; the result goes to <see cref="End"/>.</summary>
    public int Begin(int field)
    {
        Reserve(16);
        Varint(((ulong)field << 3) | 2);
        int mark = _at;
        _at += LengthBytesMax;
        return mark;
    }

    public void End(int mark)
    {
        if (IsTooLarge)
        {
            return;
        }

        int start = mark + LengthBytesMax;
        int length = _at - start;
        int lengthBytes = KeyValueRecord.VarintSize((ulong)length);
        _buffer.AsSpan(start, length).CopyTo(_buffer.AsSpan(mark + lengthBytes));
        _at = mark;
        Varint((ulong)length);
        _at += length;
    }

    private void Prefix(int field, int length)
    {
        Reserve(16 + length);
        Varint(((ulong)field << 3) | 2);
        Varint((ulong)length);
    }

    private void Varint(ulong value)
    {
        while (value >= 0x80)
        {
            _buffer[_at++] = (byte)((value & 0x7F) | 0x80);
            value >>= 7;
        }

        _buffer[_at++] = (byte)value;
    }

    private void Reserve(int bytes)
    {
        if (_buffer.Length - _at >= bytes)
        {
            return;
        }

        if (_at + (long)bytes > bytesMax)
        {
            IsTooLarge = true;
            _at = GrpcPayload.PrefixBytes;
            if (_buffer.Length - _at >= bytes)
            {
                return;
            }
        }

        byte[] larger = ArrayPool<byte>.Shared.Rent((int)Math.Max(Math.Min(_buffer.Length * 2L, bytesMax), _at + (long)bytes));
        _buffer.AsSpan(0, _at).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}

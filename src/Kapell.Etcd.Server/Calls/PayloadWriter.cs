using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Calls;

/// <summary>Gathers one message behind room for its prefix, in a rented array. One at a time.</summary>
internal sealed class PayloadWriter : SerializationContext, IBufferWriter<byte>
{
    private const int FirstBytes = 512;
    private byte[]? _buffer;
    private Lent? _adopted;
    private int _length;

    public override void Complete(byte[] payload)
    {
        SetPayloadLength(payload.Length);
        payload.CopyTo(GetSpan(payload.Length));
        Advance(payload.Length);
    }

    public override void Complete() => Rent(0);

    public override void SetPayloadLength(int payloadLength) => Rent(payloadLength);

    public override IBufferWriter<byte> GetBufferWriter() => this;

    public void Advance(int count) => _length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Rent(Math.Max(sizeHint, 1));
        return _buffer.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

    /// <summary>In place of all writing: the message stands there already, behind room for the prefix; its memory is given away.</summary>
    /// <param name="length">With that room.</param>
    public void Adopt(Lent owner, int length) => (_adopted, _length) = (owner, length);

    public GrpcPayload Take()
    {
        Lent owner = _adopted ?? new Lent(_buffer);
        Memory<byte> message = owner.Memory[.._length];
        message.Span[0] = 0;
        BinaryPrimitives.WriteInt32BigEndian(message.Span[1..], _length - GrpcPayload.PrefixBytes);
        (_buffer, _adopted) = (null, null);
        return new GrpcPayload(message, owner);
    }

    private void Rent(int more)
    {
        if (_buffer is null)
        {
            _buffer = ArrayPool<byte>.Shared.Rent(Math.Max(GrpcPayload.PrefixBytes + more, FirstBytes));
            _length = GrpcPayload.PrefixBytes;
        }
        else if (_buffer.Length - _length < more)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(_length + more, _buffer.Length * 2));
            _buffer.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }
    }
}

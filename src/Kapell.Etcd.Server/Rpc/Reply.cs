using System.Buffers;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// A response already encoded, behind room for gRPC's prefix: the call that sends it takes the memory over. One that may be a range and is not
/// sent is to be taken (<see cref="Take"/>); others may be left to the collector.
/// </summary>
public sealed class Reply
{
    private readonly NativeBlock? _block;
    private byte[]? _buffer;
    private bool _isSent;

    /// <param name="length">Of the message, in bytes, without the prefix.</param>
    public Reply(byte[] ownedBuffer, int length) => (_buffer, Length) = (ownedBuffer, length);

    internal Reply(NativeBlock ownedBlock, int length) => (_block, Length) = (ownedBlock, length);

    public static Marshaller<Reply> Marshaller { get; } = Marshallers.Create<Reply>(
        static (reply, context) => reply.Write(context),
        static _ => throw new NotSupportedException("replies are only written"));

    /// <summary>Of the message, in bytes, without the prefix.</summary>
    public int Length { get; }

    public ReadOnlySpan<byte> Span => (_block is null ? _buffer.AsSpan() : _block.GetSpan()).Slice(GrpcPayload.PrefixBytes, Length);

    /// <summary>The message, in place of sending it.</summary>
    public byte[] Take()
    {
        byte[] message = Span.ToArray();
        GiveBack();
        return message;
    }

    private void GiveBack()
    {
        new Lent(_buffer, _block).GiveBack();
        (_buffer, _isSent) = (null, true);
    }

    private void Write(SerializationContext context)
    {
        if (_isSent)
        {
            throw new InvalidOperationException("a reply is sent once");
        }

        _isSent = true;
        switch (context)
        {
            case PayloadWriter writer when _block is not null:
                writer.Adopt(_block, GrpcPayload.PrefixBytes + Length);
                return;
            case PayloadWriter writer:
                writer.Adopt(_buffer!, GrpcPayload.PrefixBytes + Length);
                break;
            default:
                context.SetPayloadLength(Length);
                context.GetBufferWriter().Write(Span);
                context.Complete();
                GiveBack();
                break;
        }

        _buffer = null;
    }
}

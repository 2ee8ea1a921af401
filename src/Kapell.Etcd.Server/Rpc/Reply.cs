using System.Buffers;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// A response already encoded, in a rented buffer with room for gRPC's prefix before it: the call that sends it takes the buffer over.
/// One that is never sent is left to the collector.
/// </summary>
public sealed class Reply(byte[] ownedBuffer, int length)
{
    private byte[]? _buffer = ownedBuffer;

    public static Marshaller<Reply> Marshaller { get; } = Marshallers.Create<Reply>(
        static (reply, context) => reply.Write(context),
        static _ => throw new NotSupportedException("replies are only written"));

    /// <summary>Of the message, in bytes, without the prefix.</summary>
    public int Length { get; } = length;

    public ReadOnlySpan<byte> Span => _buffer.AsSpan(GrpcPayload.PrefixBytes, Length);

    private void Write(SerializationContext context)
    {
        byte[] buffer = _buffer ?? throw new InvalidOperationException("a reply is sent once");
        _buffer = null;
        if (context is PayloadWriter writer)
        {
            writer.Adopt(buffer, GrpcPayload.PrefixBytes + Length);
            return;
        }

        context.SetPayloadLength(Length);
        context.GetBufferWriter().Write(buffer.AsSpan(GrpcPayload.PrefixBytes, Length));
        context.Complete();
        ArrayPool<byte>.Shared.Return(buffer);
    }
}

using System.Buffers;
using Grpc.Core;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// A response already encoded, in a rented buffer that the marshaller gives back after copying it out. One that is never sent is
/// left to the collector.
/// </summary>
public sealed class Reply(byte[] ownedBuffer, int length)
{
    private const int CopyBytesMax = 256 * 1024;

    private byte[]? _buffer = ownedBuffer;

    public static Marshaller<Reply> Marshaller { get; } = Marshallers.Create<Reply>(
        static (reply, context) => reply.Write(context),
        static _ => throw new NotSupportedException("replies are only written"));

    public int Length { get; } = length;

    public ReadOnlySpan<byte> Span => _buffer.AsSpan(0, Length);

    private void Write(SerializationContext context)
    {
        byte[] buffer = _buffer ?? throw new InvalidOperationException("a reply is sent once");
        _buffer = null;
        context.SetPayloadLength(Length);
        IBufferWriter<byte> writer = context.GetBufferWriter();

        // A collection waits for a copy under way, and everybody for the collection: never hundreds of megabytes at once.
        for (int at = 0; at < Length; at += CopyBytesMax)
        {
            writer.Write(buffer.AsSpan(at, Math.Min(CopyBytesMax, Length - at)));
        }

        context.Complete();
        ArrayPool<byte>.Shared.Return(buffer);
    }
}

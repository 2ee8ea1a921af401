using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// A response already encoded, behind room for gRPC's prefix: the call that sends it takes the memory over. One that may be a range and is not
/// sent is to be taken (<see cref="Take"/>); others may be left to the collector.
/// </summary>
public sealed class Reply
{
    private Lent? _owner;

    /// <param name="length">Of the message, in bytes, without the prefix.</param>
    public Reply(byte[] ownedBuffer, int length)
        : this(new Lent(ownedBuffer), length)
    {
    }

    internal Reply(Lent owner, int length) => (_owner, Length) = (owner, length);

    public static Marshaller<Reply> Marshaller { get; } = Marshallers.Create<Reply>(
        static (reply, context) => reply.Write(context),
        static _ => throw new NotSupportedException("replies are only written"));

    /// <summary>Of the message, in bytes, without the prefix.</summary>
    public int Length { get; }

    public ReadOnlySpan<byte> Span => Owner.Memory.Span.Slice(GrpcPayload.PrefixBytes, Length);

    private Lent Owner => _owner ?? throw new InvalidOperationException("a reply is sent, or taken, once");

    /// <summary>The message, in place of sending it.</summary>
    public byte[] Take()
    {
        byte[] message = Span.ToArray();
        Owner.GiveBack();
        _owner = null;
        return message;
    }

    private void Write(SerializationContext context)
    {
        if (context is PayloadWriter writer)
        {
            writer.Adopt(Owner, GrpcPayload.PrefixBytes + Length);
            _owner = null;
        }
        else
        {
            context.Complete(Take());
        }
    }
}

using System.Buffers;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Calls;

/// <summary>A message ready to be sent, its five bytes of prefix included.</summary>
internal readonly record struct GrpcPayload(ReadOnlyMemory<byte> Memory, Lent Owner)
{
    public const int PrefixBytes = 5;

    [ThreadStatic]
    private static PayloadWriter? s_writer;

    [ThreadStatic]
    private static Reader? s_reader;

    public int Length => Memory.Length;

    public static T Read<T>(Marshaller<T> marshaller, ReadOnlySequence<byte> payload)
    {
        Reader reader = s_reader ??= new Reader();
        reader.Payload = payload;
        T value = marshaller.ContextualDeserializer(reader);
        reader.Payload = default;
        return value;
    }

    public static GrpcPayload Write<T>(Marshaller<T> marshaller, T value)
    {
        // Not there while it is used: what a marshaller that failed has left in it is not the next message's.
        PayloadWriter writer = s_writer ?? new PayloadWriter();
        s_writer = null;
        marshaller.ContextualSerializer(value, writer);
        GrpcPayload done = writer.Take();
        s_writer = writer;
        return done;
    }

    private sealed class Reader : DeserializationContext
    {
        public ReadOnlySequence<byte> Payload { get; set; }

        public override int PayloadLength => (int)Payload.Length;

        public override byte[] PayloadAsNewBuffer() => Payload.ToArray();

        public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => Payload;
    }
}

using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;

namespace Kapell.Bench.Light;

/// <summary>Messages with the prefix of gRPC, by the marshallers of the generated clients.</summary>
internal static class LightMessage
{
    [ThreadStatic]
    private static Writer? _writer;

    [ThreadStatic]
    private static Reader? _reader;

    /// <summary>Valid until the next one on this thread.</summary>
    public static ReadOnlySpan<byte> Write<T>(Marshaller<T> marshaller, T message)
    {
        Writer writer = _writer ??= new Writer();
        writer.Begin();
        marshaller.ContextualSerializer(message, writer);
        return writer.Done();
    }

    public static T Read<T>(Marshaller<T> marshaller, ReadOnlySpan<byte> payload)
    {
        Reader reader = _reader ??= new Reader();
        reader.Take(payload);
        return marshaller.ContextualDeserializer(reader);
    }

    private sealed class Writer : SerializationContext
    {
        private readonly ArrayBufferWriter<byte> _bytes = new(4096);

        public void Begin()
        {
            _bytes.ResetWrittenCount();
            _bytes.GetSpan(5)[..5].Clear();
            _bytes.Advance(5);
        }

        public ReadOnlySpan<byte> Done()
        {
            // The written part is ours to change: the prefix comes last.
            Span<byte> all = System.Runtime.InteropServices.MemoryMarshal.AsMemory(_bytes.WrittenMemory).Span;
            BinaryPrimitives.WriteInt32BigEndian(all[1..], all.Length - 5);
            return all;
        }

        public override void Complete(byte[] payload) => _bytes.Write(payload);

        public override IBufferWriter<byte> GetBufferWriter() => _bytes;

        public override void SetPayloadLength(int payloadLength)
        {
        }

        public override void Complete()
        {
        }
    }

    private sealed class Reader : DeserializationContext
    {
        private byte[] _bytes = new byte[4096];
        private int _length;

        public override int PayloadLength => _length;

        public void Take(ReadOnlySpan<byte> payload)
        {
            if (payload.Length > _bytes.Length)
            {
                _bytes = new byte[payload.Length * 2];
            }

            payload.CopyTo(_bytes);
            _length = payload.Length;
        }

        public override byte[] PayloadAsNewBuffer() => _bytes.AsSpan(0, _length).ToArray();

        public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => new(_bytes, 0, _length);
    }
}

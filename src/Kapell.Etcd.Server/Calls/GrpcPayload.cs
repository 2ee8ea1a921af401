using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;

namespace Kapell.Etcd.Server.Calls;

/// <summary>A message ready to be sent, its five bytes of prefix included, in a rented array.</summary>
internal readonly record struct GrpcPayload(byte[] Buffer, int Length)
{
    public const int PrefixBytes = 5;

    [ThreadStatic]
    private static Writer? s_writer;

    [ThreadStatic]
    private static Reader? s_reader;

    public ReadOnlyMemory<byte> Memory => Buffer.AsMemory(0, Length);

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
        Writer writer = s_writer ??= new Writer();
        marshaller.ContextualSerializer(value, writer);
        return writer.Take();
    }

    private sealed class Reader : DeserializationContext
    {
        public ReadOnlySequence<byte> Payload { get; set; }

        public override int PayloadLength => (int)Payload.Length;

        public override byte[] PayloadAsNewBuffer() => Payload.ToArray();

        public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => Payload;
    }

    private sealed class Writer : SerializationContext, IBufferWriter<byte>
    {
        private const int FirstBytes = 512;
        private byte[]? _buffer;
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

        public GrpcPayload Take()
        {
            byte[] buffer = _buffer!;
            buffer[0] = 0;
            BinaryPrimitives.WriteInt32BigEndian(buffer.AsSpan(1), _length - PrefixBytes);
            GrpcPayload done = new(buffer, _length);
            _buffer = null;
            return done;
        }

        private void Rent(int more)
        {
            if (_buffer is null)
            {
                _buffer = ArrayPool<byte>.Shared.Rent(Math.Max(PrefixBytes + more, FirstBytes));
                _length = PrefixBytes;
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
}

using System.Buffers;
using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// A message on a stream between members: length (4, little-endian), CRC-32C of the body (4), the body. That is one of Raft's messages, or the
/// kind (1) and the protobuf of what has nothing to do with Raft.
/// </summary>
internal static class PeerFrame
{
    // Raft's own begin below this (RaftCodec).
    private const byte RenewalKind = 0x81;
    private const byte RenewedKind = 0x82;
    public const int HeadBytes = 8;

    /// <summary>A batch of entries may go a little over Raft's limit, by one entry of the largest request.</summary>
    public const int BodyBytesMax = 256 << 20;

    public static void Write(IBufferWriter<byte> output, Message message)
    {
        int length = RaftCodec.SizeOf(message);
        Span<byte> frame = output.GetSpan(HeadBytes + length)[..(HeadBytes + length)];
        RaftCodec.Encode(message, frame[HeadBytes..]);
        Finish(output, frame);
    }

    public static void Write(IBufferWriter<byte> output, LeasesRenewal request) => Write(output, RenewalKind, request);

    public static void Write(IBufferWriter<byte> output, LeasesRenewed answer) => Write(output, RenewedKind, answer);

    /// <summary>Takes one message off the front of what has come; false when it is not all there.</summary>
    /// <param name="message">One of Raft's, or null.</param>
    /// <param name="other">Then <see cref="LeasesRenewal"/> or <see cref="LeasesRenewed"/>.</param>
    /// <exception cref="InvalidDataException">Not a frame, a damaged one, or no message.</exception>
    public static bool TryRead(ref ReadOnlySequence<byte> buffer, out Message? message, out IMessage? other)
    {
        (message, other) = (null, null);
        if (buffer.Length < HeadBytes)
        {
            return false;
        }

        Span<byte> head = stackalloc byte[HeadBytes];
        buffer.Slice(0, HeadBytes).CopyTo(head);
        int length = BinaryPrimitives.ReadInt32LittleEndian(head);
        if (length is <= 0 or > BodyBytesMax)
        {
            throw new InvalidDataException($"a frame of {length} bytes");
        }

        if (buffer.Length < HeadBytes + (long)length)
        {
            return false;
        }

        // A copy of its own: the entries point into it and live on in the log.
        byte[] body = buffer.Slice(HeadBytes, length).ToArray();
        buffer = buffer.Slice(HeadBytes + (long)length);
        if (Crc32C.Compute(body) != BinaryPrimitives.ReadUInt32LittleEndian(head[4..]))
        {
            throw new InvalidDataException("a frame was damaged on its way");
        }

        other = body[0] switch
        {
            RenewalKind => Parse(LeasesRenewal.Parser, body),
            RenewedKind => Parse(LeasesRenewed.Parser, body),
            _ => null,
        };
        return other is not null || RaftCodec.TryDecode(body, out message) ? true : throw new InvalidDataException("a frame that holds no message");
    }

    private static void Write(IBufferWriter<byte> output, byte kind, IMessage message)
    {
        int length = 1 + message.CalculateSize();
        Span<byte> frame = output.GetSpan(HeadBytes + length)[..(HeadBytes + length)];
        frame[HeadBytes] = kind;
        message.WriteTo(frame[(HeadBytes + 1)..]);
        Finish(output, frame);
    }

    private static void Finish(IBufferWriter<byte> output, Span<byte> frame)
    {
        ReadOnlySpan<byte> body = frame[HeadBytes..];
        BinaryPrimitives.WriteInt32LittleEndian(frame, body.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[4..], Crc32C.Compute(body));
        output.Advance(frame.Length);
    }

    private static T Parse<T>(MessageParser<T> parser, byte[] body)
        where T : IMessage<T>
    {
        if (body.Length > ForwardedRenewals.BytesMax)
        {
            throw new InvalidDataException($"a {typeof(T).Name} of {body.Length} bytes");
        }

        try
        {
            return parser.ParseFrom(body.AsSpan(1));
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"a frame that holds no {typeof(T).Name}: {e.Message}", e);
        }
    }
}

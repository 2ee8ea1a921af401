using System.Buffers;
using System.Buffers.Binary;
using Kapell.Raft;
using Kapell.Raft.Encoding;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Peers;

/// <summary>A message on a stream between members: length (4, little-endian), CRC-32C of the body (4), the body.</summary>
internal static class PeerFrame
{
    public const int HeadBytes = 8;

    /// <summary>A batch of entries may go a little over Raft's limit, by one entry of the largest request.</summary>
    public const int BodyBytesMax = 256 << 20;

    public static void Write(IBufferWriter<byte> output, Message message)
    {
        int length = RaftCodec.SizeOf(message);
        Span<byte> frame = output.GetSpan(HeadBytes + length)[..(HeadBytes + length)];
        RaftCodec.Encode(message, frame[HeadBytes..]);
        BinaryPrimitives.WriteInt32LittleEndian(frame, length);
        BinaryPrimitives.WriteUInt32LittleEndian(frame[4..], Crc32C.Compute(frame[HeadBytes..]));
        output.Advance(frame.Length);
    }

    /// <summary>Takes one message off the front of what has come; false when it is not all there.</summary>
    /// <exception cref="InvalidDataException">Not a frame, a damaged one, or no message.</exception>
    public static bool TryRead(ref ReadOnlySequence<byte> buffer, out Message? message)
    {
        message = null;
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

        return RaftCodec.TryDecode(body, out message) ? true : throw new InvalidDataException("a frame that holds no message");
    }
}

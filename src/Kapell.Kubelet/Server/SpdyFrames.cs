using System.Buffers.Binary;
using System.Text;

namespace Kapell.Kubelet.Server;

/// <summary>
/// SPDY/3.1 frames as bytes, as far as a client of a streaming server needs them. Header blocks go out as stored deflate blocks in one
/// zlib stream without the preset dictionary, which a zlib reader accepts as it stands; replies' headers carry nothing we need.
/// </summary>
internal static class SpdyFrames
{
    public const int HeadBytes = 8;
    public const ushort SynStream = 1;
    public const ushort SynReply = 2;
    public const ushort RstStream = 3;
    public const ushort Ping = 6;
    public const ushort GoAway = 7;
    public const byte FlagFin = 1;
    private const ushort Version = 3;

    /// <param name="firstBlock">The connection's first header block opens the zlib stream.</param>
    public static byte[] OpenStream(uint id, IReadOnlyList<(string Name, string Value)> headers, bool firstBlock)
    {
        using MemoryStream plain = new();
        Write(plain, (uint)headers.Count);
        foreach ((string name, string value) in headers)
        {
            Text(plain, name.ToLowerInvariant()); // SPDY: names are lower case.
            Text(plain, value);
        }

        byte[] text = plain.ToArray();
        using MemoryStream block = new();
        if (firstBlock)
        {
            block.Write([0x78, 0x01]);
        }

        Stored(block, text);
        Stored(block, []); // An empty block is zlib's sync flush: the reader hands out what it has.
        byte[] frame = new byte[HeadBytes + 10 + block.Length];
        Head(frame, SynStream, 0, (int)(10 + block.Length));
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(8), id);
        block.ToArray().CopyTo(frame, HeadBytes + 10);
        return frame;
    }

    public static byte[] Data(uint id, ReadOnlySpan<byte> bytes, bool fin)
    {
        byte[] frame = new byte[HeadBytes + bytes.Length];
        BinaryPrimitives.WriteUInt32BigEndian(frame, id);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(4), (uint)bytes.Length);
        frame[4] = fin ? FlagFin : (byte)0;
        bytes.CopyTo(frame.AsSpan(HeadBytes));
        return frame;
    }

    public static byte[] PingReply(ReadOnlySpan<byte> id)
    {
        byte[] frame = new byte[HeadBytes + 4];
        Head(frame, Ping, 0, 4);
        id[..4].CopyTo(frame.AsSpan(HeadBytes));
        return frame;
    }

    private static void Head(Span<byte> frame, ushort type, byte flags, int length)
    {
        BinaryPrimitives.WriteUInt16BigEndian(frame, 0x8000 | Version);
        BinaryPrimitives.WriteUInt16BigEndian(frame[2..], type);
        BinaryPrimitives.WriteUInt32BigEndian(frame[4..], (uint)length);
        frame[4] = flags;
    }

    private static void Stored(MemoryStream to, ReadOnlySpan<byte> bytes)
    {
        Span<byte> head = stackalloc byte[5];
        head[0] = 0;
        BinaryPrimitives.WriteUInt16LittleEndian(head[1..], (ushort)bytes.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(head[3..], (ushort)~bytes.Length);
        to.Write(head);
        to.Write(bytes);
    }

    private static void Text(MemoryStream to, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Write(to, (uint)bytes.Length);
        to.Write(bytes);
    }

    private static void Write(MemoryStream to, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        to.Write(bytes);
    }
}

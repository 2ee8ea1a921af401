using System.Buffers.Binary;

namespace Kapell.Storage.Wal;

/// <summary>
/// The bytes of a record, little-endian, aligned to 8:
/// length of the payload (4), synced offset (4), tag (8), CRC of the payload (4), type (1), zero (3), CRC of this header with segment
/// and offset (4), mark "KREC" (4), payload, zeros, end mark (1).
/// The marks are not zero, so in a file of zeros a write that stopped short can be told from a bit that flipped. The synced offset
/// says what was already flushed when this was written: a bad record before it was once good.
/// </summary>
internal static class RecordFormat
{
    public const int HeaderBytes = 32;
    public const int Alignment = 8;
    private const byte EndMark = 0xA5;
    private const int HeaderCrcOffset = 24;
    private static ReadOnlySpan<byte> Mark => "KREC"u8;

    public static long TotalBytes(int payloadBytes) => ((long)HeaderBytes + payloadBytes + 1 + Alignment - 1) / Alignment * Alignment;

    public static void Write(Span<byte> destination, WalRecord record, ulong segment, long offset, long syncedOffset)
    {
        ReadOnlySpan<byte> payload = record.Payload.Span;
        destination.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(destination, payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[4..], checked((uint)syncedOffset));
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], record.Tag);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[16..], Crc32C.Compute(payload));
        destination[20] = record.Type;
        BinaryPrimitives.WriteUInt32LittleEndian(destination[HeaderCrcOffset..], HeaderCrc(destination, segment, offset));
        Mark.CopyTo(destination[28..]);
        payload.CopyTo(destination[HeaderBytes..]);
        destination[^1] = EndMark;
    }

    /// <summary>Reads the record at <paramref name="offset"/> of a segment held in memory.</summary>
    public static RecordState Read(ReadOnlySpan<byte> segmentBytes, long offset, ulong segment, int payloadMax, out RecordView record)
    {
        record = default;
        ReadOnlySpan<byte> bytes = segmentBytes[(int)offset..];
        if (bytes.Length < HeaderBytes || bytes[..HeaderBytes].IndexOfAnyExcept((byte)0) < 0)
        {
            return RecordState.None;
        }

        ReadOnlySpan<byte> header = bytes[..HeaderBytes];
        bool headerGood = header[28..].SequenceEqual(Mark)
            && BinaryPrimitives.ReadUInt32LittleEndian(header[HeaderCrcOffset..]) == HeaderCrc(header, segment, offset);
        if (!headerGood)
        {
            return RecordState.BadHeader;
        }

        int length = BinaryPrimitives.ReadInt32LittleEndian(header);
        if (length < 0 || length > payloadMax || TotalBytes(length) > bytes.Length)
        {
            return RecordState.BadHeader;
        }

        record = new RecordView(
            header[20],
            BinaryPrimitives.ReadUInt64LittleEndian(header[8..]),
            (int)offset + HeaderBytes,
            length,
            BinaryPrimitives.ReadUInt32LittleEndian(header[4..]),
            TotalBytes(length));
        bool good = bytes[(int)record.TotalBytes - 1] == EndMark
            && BinaryPrimitives.ReadUInt32LittleEndian(header[16..]) == Crc32C.Compute(bytes.Slice(HeaderBytes, length));
        return good ? RecordState.Good : RecordState.BadPayload;
    }

    /// <summary>
    /// Whether a bad record looks like a write that did not finish: its end is missing, or a whole sector's share of it was never written.
    /// </summary>
    public static bool LooksTorn(ReadOnlySpan<byte> segmentBytes, long offset, long length)
    {
        const int sectorBytes = 512;
        long end = Math.Min(offset + length, segmentBytes.Length);
        if (segmentBytes[(int)end - 1] == 0)
        {
            return true;
        }

        for (long start = offset; start < end;)
        {
            long next = Math.Min(end, (start / sectorBytes * sectorBytes) + sectorBytes);
            if (segmentBytes[(int)start..(int)next].IndexOfAnyExcept((byte)0) < 0)
            {
                return true;
            }

            start = next;
        }

        return false;
    }

    private static uint HeaderCrc(ReadOnlySpan<byte> header, ulong segment, long offset)
    {
        uint crc = Crc32C.Append(Crc32C.Append(0, segment), (ulong)offset);
        return Crc32C.Append(crc, header[..HeaderCrcOffset]);
    }
}

internal enum RecordState
{
    /// <summary>Zeros: the log ends here.</summary>
    None,
    Good,
    BadHeader,
    BadPayload,
}

internal readonly record struct RecordView(
    byte Type, ulong Tag, int PayloadOffset, int PayloadBytes, long SyncedOffset, long TotalBytes);

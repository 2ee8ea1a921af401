using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>What stands at a place of a segment.</summary>
internal enum FrameKind
{
    Record,

    /// <summary>The end of the file, or space that was prepared for more.</summary>
    End,

    /// <summary>In the newest segment: a write that a crash stopped. All that was promised stands before it.</summary>
    Torn,
}

/// <summary>
/// Reads the records of one segment of etcd's log. A frame: length (8, little-endian; its highest byte holds, with the highest bit set,
/// how many bytes of padding follow), the record, the padding. Each record's checksum covers its data and that of all before it.
/// etcd: storage/wal/decoder.go
/// </summary>
internal sealed class EtcdSegmentReader(IDiskFile file, string path, bool isNewest)
{
    public const long CrcType = 4;
    private const int FrameHeadBytes = 8;
    private const int SectorBytes = 512;
    private const int WindowBytes = 1 << 20;

    // etcd bounds requests (1.5 MiB unless told otherwise); what is larger than this is no record but a damaged length, not a write cut off.
    private const long RecordBytesMax = 256L << 20;

    private readonly long _length = file.Length;
    private byte[] _window = [];
    private long _windowAt;
    private int _windowBytes;

    /// <summary>Where the next frame begins.</summary>
    public long Offset { get; private set; }

    /// <param name="crc">The checksum of all before; becomes that of all up to here.</param>
    /// <exception cref="TakeoverException">The segment is damaged.</exception>
    public FrameKind Next(ref uint crc, out EtcdLogRecord record)
    {
        record = new EtcdLogRecord();
        if (Offset == _length)
        {
            return FrameKind.End;
        }

        if (_length - Offset < FrameHeadBytes)
        {
            return CutOff("the file ends in the middle of a frame's length");
        }

        long field = BinaryPrimitives.ReadInt64LittleEndian(Bytes(Offset, FrameHeadBytes));
        if (field == 0)
        {
            return FrameKind.End;
        }

        long recordBytes = field & 0x00FF_FFFF_FFFF_FFFF;
        long padding = field < 0 ? (field >> 56) & 7 : 0;
        if (recordBytes > RecordBytesMax)
        {
            throw new TakeoverException(path, Offset, $"wal: max entry size limit exceeded: a record of {recordBytes} bytes");
        }

        if (recordBytes > _length - Offset - FrameHeadBytes - padding)
        {
            return CutOff($"a record of {recordBytes} bytes, beyond the end of the file at {_length}");
        }

        ReadOnlySpan<byte> frame = Bytes(Offset + FrameHeadBytes, (int)(recordBytes + padding));
        string? wrong = Parse(frame[..(int)recordBytes], ref record, ref crc);
        if (wrong is not null)
        {
            return isNewest && HasEmptySector(frame, Offset + FrameHeadBytes) ? FrameKind.Torn : throw new TakeoverException(path, Offset, wrong);
        }

        Offset += FrameHeadBytes + recordBytes + padding;
        return FrameKind.Record;
    }

    // Only of the newest is it known that nothing was promised of what is cut off. etcd: wal/repair.go looks at the last file alone.
    private FrameKind CutOff(string reason) => isNewest ? FrameKind.Torn : throw new TakeoverException(path, Offset, "unexpected EOF: " + reason);

    private static string? Parse(ReadOnlySpan<byte> bytes, ref EtcdLogRecord record, ref uint crc)
    {
        try
        {
            record = EtcdLogRecord.Parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException e)
        {
            return $"the record cannot be read: {e.Message}";
        }

        if (record.Type == CrcType)
        {
            // The first record of a segment says what the checksum was before it; the first segment that is read has nothing to compare.
            bool fits = crc == 0 || crc == record.Crc;
            crc = record.Crc;
            return fits ? null : "walpb: crc mismatch: the segment does not go on where the one before it ends";
        }

        uint now = Crc32C.Append(crc, record.Data.Span);
        if (now != record.Crc)
        {
            return $"walpb: crc mismatch: expected: {record.Crc:x} computed: {now:x}";
        }

        crc = now;
        return null;
    }

    // A sector that holds nothing but zeros was never written. etcd: decoder.go isTornEntry
    private static bool HasEmptySector(ReadOnlySpan<byte> frame, long offset)
    {
        while (!frame.IsEmpty)
        {
            int piece = (int)Math.Min(SectorBytes - (offset % SectorBytes), frame.Length);
            if (frame[..piece].IndexOfAnyExcept((byte)0) < 0)
            {
                return true;
            }

            frame = frame[piece..];
            offset += piece;
        }

        return false;
    }

    private ReadOnlySpan<byte> Bytes(long offset, int count)
    {
        if (offset < _windowAt || offset + count > _windowAt + _windowBytes)
        {
            if (_window.Length < count || _window.Length < WindowBytes)
            {
                _window = new byte[Math.Max(count, WindowBytes)];
            }

            _windowAt = offset;
            _windowBytes = file.Read(offset, _window);
            if (_windowBytes < count)
            {
                throw new TakeoverException(path, offset, "the file became shorter while it was read");
            }
        }

        return _window.AsSpan((int)(offset - _windowAt), count);
    }
}

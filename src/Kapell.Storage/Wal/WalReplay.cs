namespace Kapell.Storage.Wal;

/// <summary>Reads all segments at start, cuts a torn end, and refuses damage anywhere else.</summary>
/// <param name="mends">Whether a torn end is cleared on the disk; otherwise it is only reported.</param>
internal sealed class WalReplay(IDisk disk, string directory, WalOptions options, Action<WalRecord> replay, bool mends = true)
{
    private string? _tornFile;
    private long _tornOffset;
    private long _tornBytes;
    private long _records;
    private long _bytes;

    /// <summary>The segments found, oldest first, and where the last one ends.</summary>
    public List<WalSegmentInfo> Segments { get; } = [];

    public long EndOffset { get; private set; } = Segment.HeadBytes;

    public WalRecovery Run()
    {
        List<ulong> numbers = [.. disk.List(directory).Select(Segment.NumberOf).OfType<ulong>().Order()];
        for (int i = 0; i < numbers.Count; i++)
        {
            string file = Path.Combine(directory, Segment.NameOf(numbers[i]));
            if (i > 0 && numbers[i] != numbers[i - 1] + 1)
            {
                throw new CorruptLogException(file, 0, $"segment {Segment.NameOf(numbers[i - 1] + 1)} before it is missing");
            }

            ReadSegment(file, numbers[i], isLast: i == numbers.Count - 1);
        }

        return new WalRecovery(numbers.Count, _records, _bytes, _tornFile, _tornOffset, _tornBytes);
    }

    private void ReadSegment(string file, ulong number, bool isLast)
    {
        byte[] bytes = ReadAll(file);
        Segment.CheckHead(bytes, file, number);
        WalSegmentInfo info = new(number);
        Segments.Add(info);
        long offset = Segment.HeadBytes;
        while (offset < bytes.Length)
        {
            RecordState state = RecordFormat.Read(bytes, offset, number, options.RecordBytesMax, out RecordView record);
            if (state != RecordState.Good)
            {
                long last = bytes.AsSpan((int)offset).LastIndexOfAnyExcept((byte)0);
                if (last >= 0)
                {
                    RefuseUnlessTorn(file, bytes, offset, number, isLast, state, record);
                    Cut(file, offset, last + 1);
                }

                break;
            }

            // A copy, so that the caller may keep it without holding the whole segment.
            byte[] payload = bytes.AsSpan(record.PayloadOffset, record.PayloadBytes).ToArray();
            info.TagMax = Math.Max(info.TagMax, record.Tag);
            replay(new WalRecord(record.Type, record.Tag, payload));
            _records++;
            _bytes += record.TotalBytes;
            offset += record.TotalBytes;
        }

        EndOffset = offset;
    }

    private byte[] ReadAll(string file)
    {
        using IDiskFile segment = disk.Open(file, DiskOpen.Read);
        if (segment.Length > Array.MaxLength)
        {
            throw new CorruptLogException(file, Array.MaxLength, "the file is longer than a segment can be");
        }

        byte[] bytes = new byte[(int)segment.Length];
        int read = segment.Read(0, bytes);
        if (read != bytes.Length)
        {
            throw new CorruptLogException(file, read, "the file ends before its length");
        }

        return bytes;
    }

    private void RefuseUnlessTorn(
        string file, ReadOnlySpan<byte> bytes, long offset, ulong number, bool isLast, RecordState state, RecordView record)
    {
        string what = state == RecordState.BadPayload ? "the checksum of the record does not match" : "this is no head of a record";
        if (!isLast)
        {
            // A segment is flushed before the next one is begun.
            throw new CorruptLogException(file, offset, what + ", and later segments follow");
        }

        for (long later = offset + RecordFormat.Alignment; later < bytes.Length; later += RecordFormat.Alignment)
        {
            RecordState found = RecordFormat.Read(bytes, later, number, options.RecordBytesMax, out RecordView next);
            if (found == RecordState.Good && next.SyncedOffset > offset)
            {
                throw new CorruptLogException(file, offset, $"{what}, and the record at {later} was written after it was flushed");
            }
        }

        long length = state == RecordState.BadPayload ? record.TotalBytes : RecordFormat.HeaderBytes;
        if (state != RecordState.None && !RecordFormat.LooksTorn(bytes, offset, length))
        {
            throw new CorruptLogException(file, offset, what + ", and it is not a write that was cut short");
        }
    }

    private void Cut(string file, long offset, long length)
    {
        if (mends)
        {
            using IDiskFile segment = disk.Open(file, DiskOpen.ReadWrite);
            segment.Write(offset, new byte[length]);
            segment.Flush();
        }

        (_tornFile, _tornOffset, _tornBytes) = (file, offset, length);
    }
}

/// <summary>What must be known of a segment to release it.</summary>
internal sealed class WalSegmentInfo(ulong number)
{
    public ulong Number { get; } = number;

    public ulong TagMax { get; set; }
}

using System.Runtime.ExceptionServices;
using Kapell.Base;

namespace Kapell.Storage.Wal;

/// <summary>
/// The log of what must survive: opaque checked records in segments of zeros. <see cref="Append"/> writes, <see cref="Sync"/> makes
/// certain; many appends may share one sync. One thread at a time, except <see cref="PrepareSpare"/>, which may run beside it.
/// After a failure every call fails the same way: the process must stop and replay.
/// </summary>
public sealed class WriteAheadLog : IDisposable
{
    private const string TemporaryExtension = ".tmp";

    // A new member waits for its zeros; the next segment is made beside the writes.
    private const int FirstSegmentBytes = 2 << 20;

    private readonly IDisk _disk;
    private readonly string _directory;
    private readonly WalOptions _options;
    private readonly List<WalSegmentInfo> _segments;
    private readonly Lock _spareLock = new(); // Guards the spare file and the flag below.
    private bool _hasSpare;
    private bool _isSpareAwaited; // Nobody rests any more.
    private IDiskFile _file;
    private long _fileBytes;
    private long _offset;
    private long _synced;
    private bool _isZeroed; // By us, so that the file system has a place on the disk for all of it.
    private byte[] _buffer = new byte[64 * 1024];
    private int _buffered;
    private ExceptionDispatchInfo? _failure;

    private WriteAheadLog(IDisk disk, string directory, WalOptions options, WalReplay replay, WalRecovery recovery)
    {
        (_disk, _directory, _options, Recovery) = (disk, directory, options, recovery);
        _segments = replay.Segments;
        if (_segments.Count == 0)
        {
            // Small as the first segment is, a disk that has no room for the second is too small to start on.
            if (disk.FreeBytes(directory) < options.SegmentBytes)
            {
                throw new DiskFullException(PathOf(1), "write");
            }

            _file = Begin(1, Math.Min(options.SegmentBytes, FirstSegmentBytes));
            return;
        }

        _file = disk.Open(PathOf(_segments[^1].Number), DiskOpen.ReadWrite);
        _fileBytes = _file.Length;
        // What was read may not have been flushed by the process that wrote it.
        _file.Flush();
        _offset = _synced = replay.EndOffset;
    }

    public WalRecovery Recovery { get; }

    /// <summary>Time to think of the next segment. Of the writing thread.</summary>
    public bool IsHalfFull => _offset > _fileBytes / 2;

    /// <summary>Segments begun since the log was opened.</summary>
    public int SegmentsBegun { get; private set; }

    /// <summary>The number of segment files.</summary>
    public int SegmentCount => _segments.Count;

    /// <summary>Opens the log of a directory (created if missing) and gives every record in it to <paramref name="replay"/>, in order.</summary>
    /// <exception cref="CorruptLogException">A record before the end is damaged.</exception>
    public static WriteAheadLog Open(IDisk disk, string directory, WalOptions options, Action<WalRecord> replay)
    {
        Check.That(options.SegmentBytes >= 4096);
        disk.CreateDirectory(directory);
        WalReplay reader = new(disk, directory, options, replay);
        WalRecovery recovery = reader.Run();
        foreach (string left in disk.List(directory).Where(n => n.EndsWith(TemporaryExtension, StringComparison.Ordinal)))
        {
            disk.Delete(Path.Combine(directory, left));
        }

        return new WriteAheadLog(disk, directory, options, reader, recovery);
    }

    /// <summary>Gives every record of a log that nobody writes, and changes nothing: a torn end is left as it is and reported.</summary>
    /// <exception cref="CorruptLogException">A record before the end is damaged, or a segment is missing.</exception>
    public static WalRecovery Read(IDisk disk, string directory, WalOptions options, Action<WalRecord> replay) =>
        new WalReplay(disk, directory, options, replay, mends: false).Run();

    /// <summary>Writes the records; they are certain after the next <see cref="Sync"/>.</summary>
    public void Append(IReadOnlyList<WalRecord> batch) => Guarded(() =>
    {
        foreach (WalRecord record in batch)
        {
            Check.That(record.Type != 0);
            Check.That(record.Payload.Length <= _options.RecordBytesMax);
            long bytes = RecordFormat.TotalBytes(record.Payload.Length);
            if (_offset + _buffered + bytes > _fileBytes)
            {
                Cut(bytes);
            }

            Buffer(record);
        }

        WriteBuffer();
    });

    /// <summary>Returns when all that was appended is on the disk.</summary>
    public void Sync() => Guarded(Flush);

    /// <summary>
    /// Deletes the segments at the beginning that hold no record with a tag at or above this one: a checkpoint has all of them. The
    /// segment being written always stays.
    /// </summary>
    public int ReleaseBelow(ulong tag)
    {
        int released = 0;
        while (ReleaseOne(tag) is { } path)
        {
            Guarded(() => _disk.Delete(path));
            released++;
        }

        return released;
    }

    /// <summary>
    /// As <see cref="ReleaseBelow"/>, one segment, which is no part of the log any more; null when there is none. Whoever asks deletes the
    /// file of that path, when he likes; one that is left is deleted by <see cref="Open"/>.
    /// </summary>
    public string? ReleaseOne(ulong tag)
    {
        string? released = null;
        Guarded(() =>
        {
            if (_segments.Count > 1 && _segments[0].TagMax < tag)
            {
                // What the head of the newest segment repeats of the older ones must be certain before they go.
                Flush();
                string path = PathOf(_segments[0].Number);
                _disk.Rename(path, path + TemporaryExtension);
                // One after another, or a crash could keep an older one and lose a newer one: a gap.
                _disk.SyncDirectory(_directory);
                _segments.RemoveAt(0);
                released = path + TemporaryExtension;
            }
        });
        return released;
    }

    /// <summary>Makes the next segment ahead of time, so that no write has to wait for 64 MiB of zeros. From any thread.</summary>
    /// <param name="rest">Called now and then, unless a write waits for the segment already.</param>
    public void PrepareSpare(Action? rest = null)
    {
        lock (_spareLock)
        {
            if (_hasSpare)
            {
                return;
            }

            Segment.MakeZeroed(_disk, Path.Combine(_directory, Segment.SpareName), _options.SegmentBytes, () =>
            {
                if (!Volatile.Read(ref _isSpareAwaited))
                {
                    rest?.Invoke();
                }
            });
            _hasSpare = true;
        }
    }

    /// <summary>Gives back what a failed <see cref="PrepareSpare"/> left. From any thread.</summary>
    public void ForgetSpare()
    {
        lock (_spareLock)
        {
            string spare = Path.Combine(_directory, Segment.SpareName);
            if (!_hasSpare && _disk.List(_directory).Contains(Segment.SpareName))
            {
                _disk.Delete(spare);
            }
        }
    }

    public void Dispose() => _file.Dispose();

    private void Flush()
    {
        if (_synced != _offset)
        {
            if (_isZeroed)
            {
                _file.FlushContent(_synced, _offset - _synced);
            }
            else
            {
                // Who copied the files may have made holes of the zeros.
                _file.Flush();
            }

            _synced = _offset;
        }
    }

    private void Buffer(WalRecord record)
    {
        int bytes = checked((int)RecordFormat.TotalBytes(record.Payload.Length));
        if (_buffer.Length - _buffered < bytes)
        {
            WriteBuffer();
            if (_buffer.Length < bytes)
            {
                _buffer = new byte[bytes];
            }
        }

        long offset = _offset + _buffered;
        RecordFormat.Write(_buffer.AsSpan(_buffered, bytes), record, _segments[^1].Number, offset, _synced);
        _buffered += bytes;
        _segments[^1].TagMax = Math.Max(_segments[^1].TagMax, record.Tag);
    }

    private void WriteBuffer()
    {
        if (_buffered > 0)
        {
            _file.Write(_offset, _buffer.AsSpan(0, _buffered));
            _offset += _buffered;
            _buffered = 0;
        }

        if (_buffer.Length > 4 * 1024 * 1024)
        {
            // One large record must not hold its memory for ever.
            _buffer = new byte[64 * 1024];
        }
    }

    /// <summary>Ends this segment and begins the next one, with room for a record of this size behind its head.</summary>
    private void Cut(long recordBytes)
    {
        WriteBuffer();
        // Before a later segment exists, or replay could not tell a torn end from damage.
        _file.Flush();
        _file.Dispose();
        IReadOnlyList<WalRecord> head = _options.SegmentHead?.Invoke() ?? [];
        long needed = Segment.HeadBytes + recordBytes + head.Sum(r => RecordFormat.TotalBytes(r.Payload.Length));
        _file = Begin(_segments[^1].Number + 1, Math.Max(_options.SegmentBytes, needed));
        foreach (WalRecord record in head)
        {
            Buffer(record);
        }
    }

    private IDiskFile Begin(ulong number, long bytes)
    {
        string spare = Path.Combine(_directory, Segment.SpareName);
        Volatile.Write(ref _isSpareAwaited, true);
        lock (_spareLock)
        {
            Volatile.Write(ref _isSpareAwaited, false);
            if (!_hasSpare || bytes > _options.SegmentBytes)
            {
                Segment.MakeZeroed(_disk, spare, bytes);
            }

            using (IDiskFile file = _disk.Open(spare, DiskOpen.ReadWrite))
            {
                file.Write(0, Segment.MakeHead(number));
                file.Flush();
            }

            _disk.Rename(spare, PathOf(number));
            _hasSpare = false;
        }

        _disk.SyncDirectory(_directory);
        SegmentsBegun++;
        _segments.Add(new WalSegmentInfo(number));
        _fileBytes = bytes;
        _offset = _synced = Segment.HeadBytes;
        _isZeroed = true;
        return _disk.Open(PathOf(number), DiskOpen.ReadWrite);
    }

    private string PathOf(ulong number) => Path.Combine(_directory, Segment.NameOf(number));

    private void Guarded(Action action)
    {
        _failure?.Throw();
        try
        {
            action();
        }
        catch (IOException e)
        {
            _failure = ExceptionDispatchInfo.Capture(e);
            throw;
        }
    }
}

using Kapell.Etcd.Server.Metrics;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Wal;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// Writes the write-ahead log and flushes it, everything that waits in one go, and reports the number of the last <see cref="Ready"/>.
/// While the disk is quick the owner of the replica writes by himself: two changes of threads cost more than that, and what comes
/// meanwhile is the next batch. When it is slow, a thread of its own does it, so that the member goes on hearing and saying that it lives.
/// A failure is reported and nothing is written any more. The next segment is made ready beside it by a thread of the pool, which this
/// object waits for at its end.
/// </summary>
internal sealed class LogWriter : IDisposable
{
    private static readonly TimeSpan SlowWrite = TimeSpan.FromSeconds(1); // etcd: wal.go warnSyncDuration

    // A fifth of the usual time between two heartbeats.
    private static readonly TimeSpan QuickWrite = TimeSpan.FromMilliseconds(20);

    private static readonly TimeSpan RestMax = TimeSpan.FromMilliseconds(50);

    private readonly IDisk _disk;
    private readonly WriteAheadLog _log;
    private readonly LogHead _head;
    private readonly Action<ulong> _persisted;
    private readonly Action<Exception> _failed;
    private readonly TimeProvider _time;
    private readonly MemberTimes _times;
    private readonly ILogger _logger;
    private readonly Thread _thread;
    private readonly Lock _lock = new(); // Guards the fields below.
    private readonly AutoResetEvent _wake = new(false);
    private List<Ready> _waiting = [];
    private ulong _releaseBelow;
    private bool _stopping;
    private bool _isWriting;
    private bool _isBroken; // A write failed: there is no other.
    private TimeSpan _usual; // How long a write took lately.
    private long _bytes;
    private readonly List<Ready> _here = []; // Of the owner of the replica.
    private Task _preparing = Task.CompletedTask; // Of the one who writes, as the field below.
    private int _preparedFor = -1;
    private Task _deleting = Task.CompletedTask; // Of the thread of its own.
    private readonly ManualResetEventSlim _ending = new();

    public LogWriter(
        IDisk disk, WriteAheadLog log, LogHead head, Action<ulong> persisted, Action<Exception> failed, TimeProvider time, MemberTimes times, ILogger logger)
    {
        (_disk, _log, _head, _persisted, _failed, _time, _times, _logger) = (disk, log, head, persisted, failed, time, times, logger);
        _thread = new Thread(Run) { Name = "kapell-wal", IsBackground = true };
    }

    /// <summary>Bytes of entries written since the start.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytes);

    /// <summary>Flushes made since the start.</summary>
    public long Syncs { get; private set; }

    public void Start() => _thread.Start();

    /// <summary>By the owner of the replica.</summary>
    public void Add(Ready ready)
    {
        bool here;
        lock (_lock)
        {
            if (_isBroken)
            {
                return;
            }

            here = !_isWriting && _waiting.Count == 0 && !_stopping && _usual < QuickWrite && (!_log.IsHalfFull || _preparing.IsCompleted);
            if (here)
            {
                _isWriting = true;
                _here.Add(ready);
            }
            else
            {
                _waiting.Add(ready);
            }
        }

        if (!here)
        {
            _wake.Set();
            return;
        }

        try
        {
            WriteBatch(_here);
        }
        catch (Exception e)
        {
            lock (_lock)
            {
                (_isWriting, _isBroken) = (false, true);
            }

            _failed(e);
            return;
        }

        bool more;
        lock (_lock)
        {
            _isWriting = false;
            more = _releaseBelow > 0 || _stopping;
        }

        if (more)
        {
            _wake.Set();
        }
    }

    /// <summary>Segments whose entries all lie below the index may go.</summary>
    public void ReleaseBelow(ulong index)
    {
        lock (_lock)
        {
            _releaseBelow = index;
        }

        _wake.Set();
    }

    /// <summary>Writes what waits, then ends the thread and closes the log.</summary>
    public void Dispose()
    {
        lock (_lock)
        {
            _stopping = true;
        }

        _ending.Set();
        _wake.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _preparing.GetAwaiter().GetResult();
        _deleting.GetAwaiter().GetResult();
        _log.Dispose();
        _wake.Dispose();
        _ending.Dispose();
    }

    private void Run()
    {
        try
        {
            List<Ready> batch = [];
            while (true)
            {
                _wake.WaitOne();
                if (!WriteWaiting(ref batch))
                {
                    return;
                }
            }
        }
        catch (Exception e)
        {
            _failed(e);
        }
    }

    /// <summary>False when it is time to stop.</summary>
    private bool WriteWaiting(ref List<Ready> batch)
    {
        while (true)
        {
            ulong release;
            bool stopping;
            lock (_lock)
            {
                if (_isWriting)
                {
                    // The owner is at it, and wakes us when there is something left.
                    return true;
                }

                if (_isBroken)
                {
                    return !_stopping;
                }

                (_waiting, batch) = (batch, _waiting);
                (release, _releaseBelow) = (_releaseBelow, 0);
                stopping = _stopping;
                _isWriting = batch.Count > 0 || release > 0;
            }

            if (batch.Count > 0)
            {
                WriteBatch(batch);
            }

            bool more = release > 0 && ReleaseOne(release);
            lock (_lock)
            {
                // One at a time, for whoever has something to write.
                _releaseBelow = more ? Math.Max(_releaseBelow, release) : _releaseBelow;
                if (!_isWriting)
                {
                    return !stopping;
                }

                _isWriting = false;
            }
        }
    }

    private void WriteBatch(List<Ready> batch)
    {
        Write(batch);
        PrepareNextSegment();
        ulong last = batch[^1].Number;
        batch.Clear();
        _persisted(last);
    }

    /// <summary>False when there is none to release any more.</summary>
    private bool ReleaseOne(ulong below)
    {
        if (_log.ReleaseOne(below) is not { } path)
        {
            return false;
        }

        _deleting = _deleting.ContinueWith(
            _ =>
            {
                try
                {
                    _disk.DeleteInSteps(path, Resting(GentleDisk.RestOfDeletion));
                }
                catch (IOException e)
                {
                    Log.SegmentNotDeleted(_logger, path, e.Message);
                }
            },
            TaskScheduler.Default);
        return true;
    }

    /// <summary>Waits, each time it is called, as long as the work since the last call took: half of the disk is for others.</summary>
    private Action Resting(TimeSpan least)
    {
        long begun = _time.GetTimestamp();
        return () =>
        {
            TimeSpan took = _time.GetElapsedTime(begun);
            _ending.Wait(took < least ? least : took < RestMax ? took : RestMax);
            begun = _time.GetTimestamp();
        };
    }

    /// <summary>Once a segment: zeros for the next one, so that no write has to wait for them when this one is full.</summary>
    private void PrepareNextSegment()
    {
        if (!_log.IsHalfFull || _preparedFor == _log.SegmentsBegun || !_preparing.IsCompleted)
        {
            return;
        }

        _preparedFor = _log.SegmentsBegun;
        _preparing = Task.Run(() =>
        {
            try
            {
                _log.PrepareSpare(Resting(TimeSpan.Zero));
            }
            catch (IOException)
            {
                // Not fatal yet: there may be space, or a working disk, when the segment is needed; if not, that write fails and says so.
                _log.ForgetSpare();
            }
        });
    }

    private void Write(List<Ready> batch)
    {
        long writing = _time.GetTimestamp();
        (bool sync, long bytes) = LogBatch.Append(_log, _head, batch);
        TimeSpan append = _time.GetElapsedTime(writing);
        _times.LogWrites.Observe(append.TotalSeconds);
        if (sync)
        {
            long began = _time.GetTimestamp();
            _log.Sync();
            _times.LogFlushes.Observe(_time.GetElapsedTime(began).TotalSeconds);
            Syncs++;
        }

        Interlocked.Add(ref _bytes, bytes);
        TimeSpan took = _time.GetElapsedTime(writing);
        _usual += (took - _usual) / 8;
        if (took > SlowWrite)
        {
            Log.SlowDisk(_logger, took.TotalSeconds, bytes, append.TotalSeconds);
        }
    }
}

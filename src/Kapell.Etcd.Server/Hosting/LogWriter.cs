using Kapell.Raft;
using Kapell.Storage.Wal;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// The thread that owns the write-ahead log. It takes everything that waits, writes it in one go, flushes once and reports the number of
/// the last <see cref="Ready"/>: the more come at once, the cheaper each. A failure is reported and nothing is written any more.
/// The next segment is made ready beside it by a thread of the pool, which this object waits for at its end.
/// </summary>
internal sealed class LogWriter : IDisposable
{
    private static readonly TimeSpan SlowWrite = TimeSpan.FromSeconds(1); // etcd: wal.go warnSyncDuration

    private readonly WriteAheadLog _log;
    private readonly LogHead _head;
    private readonly Action<ulong> _persisted;
    private readonly Action<Exception> _failed;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Thread _thread;
    private readonly Lock _lock = new(); // Guards the fields below.
    private readonly AutoResetEvent _wake = new(false);
    private List<Ready> _waiting = [];
    private ulong _releaseBelow;
    private bool _stopping;
    private long _bytes;
    private Task _preparing = Task.CompletedTask; // Of the writing thread.
    private int _preparedFor = -1;

    public LogWriter(WriteAheadLog log, LogHead head, Action<ulong> persisted, Action<Exception> failed, TimeProvider time, ILogger logger)
    {
        (_log, _head, _persisted, _failed, _time, _logger) = (log, head, persisted, failed, time, logger);
        _thread = new Thread(Run) { Name = "kapell-wal", IsBackground = true };
    }

    /// <summary>Bytes of entries written since the start.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytes);

    /// <summary>Flushes made since the start.</summary>
    public long Syncs { get; private set; }

    public Histogram FlushSeconds { get; } = new(0.001, 2, 14); // etcd: wal/metrics.go

    public void Start() => _thread.Start();

    public void Add(Ready ready)
    {
        lock (_lock)
        {
            _waiting.Add(ready);
        }

        _wake.Set();
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

        _wake.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _preparing.GetAwaiter().GetResult();
        _log.Dispose();
        _wake.Dispose();
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
                (_waiting, batch) = (batch, _waiting);
                (release, _releaseBelow) = (_releaseBelow, 0);
                stopping = _stopping;
            }

            if (batch.Count > 0)
            {
                Write(batch);
                PrepareNextSegment();
                ulong last = batch[^1].Number;
                batch.Clear();
                _persisted(last);
            }
            else if (release > 0)
            {
                _log.ReleaseBelow(release);
            }
            else
            {
                return !stopping;
            }
        }
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
                _log.PrepareSpare();
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
        if (sync)
        {
            long began = _time.GetTimestamp();
            _log.Sync();
            FlushSeconds.Observe(_time.GetElapsedTime(began).TotalSeconds);
            Syncs++;
        }

        Interlocked.Add(ref _bytes, bytes);
        TimeSpan took = _time.GetElapsedTime(writing);
        if (took > SlowWrite)
        {
            Log.SlowDisk(_logger, took.TotalSeconds, bytes, append.TotalSeconds);
        }
    }
}

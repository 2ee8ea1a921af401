using System.Collections.Concurrent;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Backups;

/// <summary>
/// Keeps the backups of this member: everything that is applied goes into the log of the newest, with the time of day; a new whole one is
/// written now and then beside everything else, and old ones go. Nothing of it holds the store up: when the place cannot keep pace or
/// fails, the store goes on, and a new backup is begun when the place is well again.
/// </summary>
internal sealed class BackupKeeper(IDisk disk, BackupSettings settings, ReplicaHost host, ILogger logger) : IAsyncDisposable
{
    // What a slow place may leave waiting in memory.
    private const long WaitingBytesMax = 128L << 20;
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan IdleMark = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan AfterFailure = TimeSpan.FromSeconds(10);

    private readonly string _directory = BackupPlace.MemberDirectory(settings.Directory, host.Replica.ClusterId, host.Replica.Raft.Id.Value);
    private readonly ConcurrentQueue<Batch> _waiting = new();
    private readonly CancellationTokenSource _stopping = new();
    private long _waitingBytes;
    private long _clock;
    private OpenBackup? _current; // Of the loop, as all below.
    private OpenBackup? _next;
    private Task<BackupInfo>? _writing;
    private long _marked;
    private DateTimeOffset _taken;
    private Task _loop = Task.CompletedTask;
    private long _reachesSeconds;
    private long _takenSeconds;
    private long _failures;

    /// <summary>Up to when the state is safe in the backup, in seconds since 1970; 0 for never.</summary>
    public long ReachesSeconds => Interlocked.Read(ref _reachesSeconds);

    /// <summary>When the newest whole backup was taken.</summary>
    public long TakenSeconds => Interlocked.Read(ref _takenSeconds);

    public long Failures => Interlocked.Read(ref _failures);

    public void Start() => _loop = Task.Run(RunAsync);

    /// <summary>On the owner's thread: these were just carried out. Waits for nothing.</summary>
    public void Applied(IReadOnlyList<Entry> entries)
    {
        long bytes = entries.Sum(static e => (long)e.Data.Length + 64);
        if (Interlocked.Add(ref _waitingBytes, bytes) > WaitingBytesMax)
        {
            // Left out: the gap is seen when the next ones are taken, and a new backup begun.
            Interlocked.Add(ref _waitingBytes, -bytes);
            return;
        }

        // A clock that is put back must not make the log's times fall.
        _clock = Math.Max(_clock, host.Time.GetUtcNow().ToUnixTimeMilliseconds());
        _waiting.Enqueue(new Batch(entries, _clock, bytes));
    }

    /// <summary>What was applied until now is in the log on the disk when this ends, if the place is well.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _loop;
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        bool opened = false;
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                if (!opened)
                {
                    OpenNewest();
                    opened = true;
                }

                await TurnAsync();
                await Task.Delay(Pace, host.Time, _stopping.Token);
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                break;
            }
            catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or TimeoutException)
            {
                await GiveUpAsync(e);
            }
        }

        await EndAsync();
    }

    private async Task TurnAsync()
    {
        Drain();
        if (_writing is { IsCompleted: true })
        {
            await FinishAsync();
        }

        bool due = _current is null || host.Time.GetUtcNow() - _taken >= settings.Interval;
        if (due && _writing is null)
        {
            await BeginAsync();
        }
    }

    /// <summary>After a restart the newest one goes on, when what is applied now joins on to it.</summary>
    private void OpenNewest()
    {
        disk.CreateDirectory(settings.Directory);
        disk.CreateDirectory(_directory);
        if (BackupPlace.Of(_directory).LastOrDefault(static p => p.IsFinished) is { } newest)
        {
            _taken = newest.ReadInfo().TakenAt;
            _current = OpenBackup.GoOn(disk, newest);
            Interlocked.Exchange(ref _takenSeconds, _taken.ToUnixTimeSeconds());
        }
    }

    private void Drain()
    {
        // Before the last look for batches: whatever is not seen below is applied later than this.
        long now = host.Time.GetUtcNow().ToUnixTimeMilliseconds();
        while (_waiting.TryDequeue(out Batch? batch))
        {
            Interlocked.Add(ref _waitingBytes, -batch.Bytes);
            Append(batch);
        }

        if (now - _marked >= IdleMark.TotalMilliseconds)
        {
            // So that a time at which nothing happened can be restored too.
            _marked = now;
            _current?.Mark(now);
            _next?.Mark(now);
        }

        _current?.Sync();
        _next?.Sync();
        if (_current is not null)
        {
            Interlocked.Exchange(ref _reachesSeconds, now / 1000);
        }
    }

    private void Append(Batch batch)
    {
        if (_current is not null && !_current.TryAppend(batch.Entries, batch.Time))
        {
            CareLog.BackupGap(logger, _current.Last, batch.Entries[0].Index.Value);
            _current.Dispose();
            _current = null;
        }

        if (_next is not null && !_next.TryAppend(batch.Entries, batch.Time))
        {
            throw new IOException("the place for backups is too slow for what is written: entries were left out");
        }
    }

    private async Task BeginAsync()
    {
        (CheckpointHead head, MvccStore store, CheckpointSource source) = await host.OwnAsync(
            static r => (Head: CheckpointContent.HeadOf(r), r.Applier.Store, Source: r.Applier.Store.BeginCheckpoint()), static begun => begun.Source.End(), _stopping.Token);
        DateTimeOffset now = host.Time.GetUtcNow();
        BackupPlace place = BackupPlace.New(_directory, head.Index);
        try
        {
            if (place.IsFinished)
            {
                // Nothing has happened since: the one that is there will do.
                _taken = now;
                _current ??= OpenBackup.GoOn(disk, place);
                host.PostOwned(source.End);
                return;
            }

            DeleteFolder(place);
            _next = OpenBackup.Begin(disk, place);
        }
        catch
        {
            host.PostOwned(source.End);
            throw;
        }

        _writing = Task.Run(() => Write(place, head, store, source, now), CancellationToken.None);
    }

    private BackupInfo Write(BackupPlace place, CheckpointHead head, MvccStore store, CheckpointSource source, DateTimeOffset now)
    {
        try
        {
            long compacted = source.CompactRevision;
            using CheckpointWriteStream writer = CheckpointFile.Create(disk, place.Directory, head.Index);
            CheckpointContent.Write(writer, head, source, host.WhileUnchanged, _stopping.Token);
            ContentSum sum = ContentSum.Of(store, source.Revision, compacted, work =>
            {
                _stopping.Token.ThrowIfCancellationRequested();
                host.WhileUnchanged(work);
            });
            CheckpointInfo file = writer.Commit();
            BackupInfo info = new(head.ClusterId, host.Replica.Raft.Id.Value, head.Index, head.Term, source.Revision, compacted, now, sum);
            place.WriteInfo(disk, info);
            CareLog.BackupTaken(logger, info.Revision, place.Directory, file.FileBytes);
            return info;
        }
        finally
        {
            // The store is held until now: nothing that was there has been freed.
            host.PostOwned(source.End);
        }
    }

    private async Task FinishAsync()
    {
        Task<BackupInfo> written = _writing!;
        _writing = null;
        BackupInfo info = await written;
        _current?.Dispose();
        (_current, _next, _taken) = (_next, null, info.TakenAt);
        Interlocked.Exchange(ref _takenSeconds, info.TakenAt.ToUnixTimeSeconds());
        DeleteOld();
    }

    /// <summary>One may go when the next was taken before the time that must still be restorable.</summary>
    private void DeleteOld()
    {
        DateTimeOffset boundary = host.Time.GetUtcNow() - settings.Retention;
        BackupPlace[] places = [.. BackupPlace.Of(_directory)];
        BackupPlace[] finished = [.. places.Where(static p => p.IsFinished)];
        foreach (BackupPlace unfinished in places.Except(finished).Where(p => p.Index < _current!.Place.Index))
        {
            DeleteFolder(unfinished);
        }

        for (int i = 0; i + 1 < finished.Length && finished[i + 1].ReadInfo().TakenAt < boundary; i++)
        {
            DeleteFolder(finished[i]);
            CareLog.BackupDeleted(logger, finished[i].Directory);
        }
    }

    // The description first: a folder that is half deleted must not look whole.
    private void DeleteFolder(BackupPlace place)
    {
        if (Directory.Exists(place.Directory))
        {
            if (place.IsFinished)
            {
                disk.Delete(place.InfoPath);
                disk.SyncDirectory(place.Directory);
            }

            Directory.Delete(place.Directory, recursive: true);
        }
    }

    private async Task GiveUpAsync(Exception cause)
    {
        Interlocked.Increment(ref _failures);
        CareLog.BackupFailed(logger, _directory, cause.Message);
        await EndAsync();
        try
        {
            await Task.Delay(AfterFailure, host.Time, _stopping.Token);
        }
        catch (OperationCanceledException)
        {
            // The loop sees it.
        }
    }

    private async Task EndAsync()
    {
        try
        {
            if (_writing is not null)
            {
                await _writing;
            }

            Drain();
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException or OperationCanceledException or InvalidOperationException)
        {
            // It was reported, or we stop: what is not in the log of the backup is in the member's own, and joins on after the restart.
            _waiting.Clear();
            Interlocked.Exchange(ref _waitingBytes, 0);
        }

        _writing = null;
        _current?.Dispose();
        _next?.Dispose();
        (_current, _next) = (null, null);
    }

    private sealed record Batch(IReadOnlyList<Entry> Entries, long Time, long Bytes);
}

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

    // Before the host is started: what is applied begins behind the one, and what was applied in an earlier life ends before the other.
    private readonly LogPosition _startedAt = host.Replica.AppliedPosition;
    private readonly ulong _startedWith = host.Replica.Raft.LastIndex.Value;
    private readonly ConcurrentQueue<Batch> _waiting = new();
    private readonly CancellationTokenSource _stopping = new();
    private long _waitingBytes;
    private long _clock;
    private OpenBackup? _current; // Of the loop, as all below.
    private OpenBackup? _next;
    private Task<BackupInfo>? _writing;
    private Task<EtcdError?>? _barrier;
    private long _barrierBegan;
    private BackupHistory? _history;
    private bool _unsure; // The end of the current one was not compared yet: nothing may go behind it.
    private ulong _wholeTerm; // Of the whole backup that is compared.
    private readonly HashSet<string> _unreadable = [];
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
        await MarkAsync();
        if (_writing is { IsCompleted: true })
        {
            await FinishAsync();
        }

        bool due = _current is null || (!_unsure && host.Time.GetUtcNow() - _taken >= settings.Interval);
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
        _history = BackupHistory.Of(_directory)[^1];
        if (BackupPlace.Of(_history.Directory).LastOrDefault(static p => p.IsFinished) is not { } newest)
        {
            return;
        }

        BackupInfo info;
        try
        {
            info = newest.ReadInfo();
            _current = OpenBackup.GoOn(disk, newest);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            // Whether we could go on with it is not known, and will not be.
            BeginHistory(e is CorruptLogException damage ? $"{damage.File} is damaged at offset {damage.Offset}: {damage.Reason}" : e.Message);
            return;
        }

        ulong last = _current.Last;
        ulong begin = _startedAt.Index.Value;
        if (last > _startedWith)
        {
            BeginHistory($"that goes up to entry {last}, this member only had entries up to {_startedWith}");
        }
        else if (last < begin || (last == begin && last == info.Index && info.Term != _startedAt.Term.Value))
        {
            BeginHistory($"that ends with entry {last}, and this member begins with the content at entry {begin}");
        }
        else
        {
            (_unsure, _wholeTerm) = (last > begin, info.Term);
            _taken = info.TakenAt;
            Interlocked.Exchange(ref _takenSeconds, _taken.ToUnixTimeSeconds());
        }
    }

    /// <summary>What comes now has nothing to do with what is there, as far as can be told.</summary>
    private void BeginHistory(string reason)
    {
        string before = _history!.Directory;
        _current?.Dispose();
        (_current, _unsure) = (null, false);
        _history = _history.Next(_directory, host.Time.GetUtcNow());
        CareLog.BackupHistoryBegun(logger, _history.Directory, before, reason);
    }

    private void Drain()
    {
        while (_waiting.TryDequeue(out Batch? batch))
        {
            Interlocked.Add(ref _waitingBytes, -batch.Bytes);
            Append(batch);
        }

        _current?.Sync();
        _next?.Sync();
    }

    private void Append(Batch batch)
    {
        if (_unsure)
        {
            Compare(batch.Entries);
        }

        if (_current is not null && !_current.TryAppend(batch.Entries, batch.Time))
        {
            GiveUpCurrent(batch.Entries[0].Index.Value);
        }

        if (_next is not null && !_next.TryAppend(batch.Entries, batch.Time))
        {
            throw TooSlow();
        }
    }

    private void Compare(IReadOnlyList<Entry> entries)
    {
        ulong last = _current!.Last;
        if (entries[0].Index.Value > last)
        {
            BeginHistory($"that ends with entry {last}, which could not be compared");
        }
        else if (entries[^1].Index.Value >= last)
        {
            _unsure = false;
            if (!_current.EndsWith(entries[(int)(last - entries[0].Index.Value)], _wholeTerm))
            {
                BeginHistory($"that ends with entry {last}, which is another here");
            }
        }
    }

    private void GiveUpCurrent(ulong next)
    {
        CareLog.BackupGap(logger, _current!.Last, next);
        _current.Dispose();
        _current = null;
    }

    private static IOException TooSlow() => new("the place for backups is too slow for what is written: entries were left out");

    /// <summary>
    /// So that a time at which nothing happened can be restored too. That nothing else was acknowledged until then only a read barrier
    /// says which began then: a member that is cut off, lags or has just started does not know.
    /// </summary>
    private async Task MarkAsync()
    {
        if (_barrier is { IsCompleted: true } asked)
        {
            _barrier = null;
            if (asked.IsCompletedSuccessfully && await asked is null)
            {
                // In a turn: what was applied until then waits for us, or was left out.
                ulong applied = await host.OwnAsync(static r => r.AppliedPosition.Index.Value, _stopping.Token);
                Drain();
                MarkUntil(_barrierBegan, applied);
            }
        }

        long now = host.Time.GetUtcNow().ToUnixTimeMilliseconds();
        if (_barrier is null && Math.Abs(now - _barrierBegan) >= IdleMark.TotalMilliseconds)
        {
            _barrierBegan = now;
            _barrier = host.ReadBarrierAsync(_stopping.Token);
        }
    }

    private void MarkUntil(long time, ulong applied)
    {
        if (_unsure)
        {
            if (applied < _current!.Last)
            {
                return;
            }

            BeginHistory($"that ends with entry {_current.Last}, which could not be compared");
        }

        if (_current is not null && _current.Last < applied)
        {
            // Left out with nothing after it, or a checkpoint of the leader took the place of the store.
            GiveUpCurrent(applied);
        }

        if (_next is not null && _next.Last < applied)
        {
            throw TooSlow();
        }

        _current?.Mark(time);
        _next?.Mark(time);
        _current?.Sync();
        _next?.Sync();
        if (_current is not null)
        {
            Interlocked.Exchange(ref _reachesSeconds, time / 1000);
        }
    }

    private async Task BeginAsync()
    {
        (CheckpointHead head, MvccStore store, CheckpointSource source) = await host.OwnAsync(
            static r => (Head: CheckpointContent.HeadOf(r), r.Applier.Store, Source: r.Applier.Store.BeginCheckpoint()), static begun => begun.Source.End(), _stopping.Token);
        DateTimeOffset now = host.Time.GetUtcNow();
        BackupPlace place = BackupPlace.New(_history!.Directory, head.Index);
        try
        {
            if (place.IsFinished && GoesOn(place))
            {
                // Nothing has happened since: the one that is there will do.
                _taken = now;
                host.PostOwned(source.End);
                return;
            }

            place = BackupPlace.New(_history.Directory, head.Index);
            disk.CreateDirectory(_history.Directory);
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

    private bool GoesOn(BackupPlace place)
    {
        try
        {
            _current ??= OpenBackup.GoOn(disk, place);
            return true;
        }
        catch (Exception e) when (e is CorruptLogException or InvalidDataException)
        {
            // What is good of it stays: there is none instead of it yet.
            BeginHistory(e.Message);
            return false;
        }
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

    /// <summary>One may go when the next, of whatever history, was taken before the time that must still be restorable.</summary>
    private void DeleteOld()
    {
        DateTimeOffset boundary = host.Time.GetUtcNow() - settings.Retention;
        List<(BackupPlace Place, DateTimeOffset TakenAt)> whole = [];
        foreach (BackupHistory history in BackupHistory.Of(_directory))
        {
            IReadOnlyList<BackupPlace> places = BackupPlace.Of(history.Directory);
            foreach (BackupPlace place in places)
            {
                if (!place.IsFinished)
                {
                    Delete(place);
                }
                else if (ReadInfo(place) is { } info)
                {
                    whole.Add((place, info.TakenAt));
                }
            }

            if (places.Count == 0 && history.Directory != _history!.Directory && history.Directory != _directory)
            {
                Attempt(history.Directory, () => Directory.Delete(history.Directory));
            }
        }

        (BackupPlace Place, DateTimeOffset TakenAt)[] ordered = [.. whole.OrderBy(static w => w.TakenAt)];
        for (int i = 0; i + 1 < ordered.Length && ordered[i + 1].TakenAt < boundary; i++)
        {
            if (Delete(ordered[i].Place))
            {
                CareLog.BackupDeleted(logger, ordered[i].Place.Directory);
            }
        }
    }

    private BackupInfo? ReadInfo(BackupPlace place)
    {
        BackupInfo? info = null;
        Attempt(place.Directory, () => info = place.ReadInfo());
        return info;
    }

    private bool Delete(BackupPlace place) => place.Directory != _current!.Place.Directory && Attempt(place.Directory, () => DeleteFolder(place));

    /// <summary>What is wrong with an old one must not keep the new ones from being made; it is said once.</summary>
    private bool Attempt(string directory, Action work)
    {
        try
        {
            work();
            return true;
        }
        catch (Exception e) when (e is IOException or InvalidDataException or UnauthorizedAccessException)
        {
            if (_unreadable.Add(directory))
            {
                CareLog.BackupUnreadable(logger, directory, e.Message);
            }

            return false;
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
        if (_unsure)
        {
            BeginHistory("its end could not be compared");
        }

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

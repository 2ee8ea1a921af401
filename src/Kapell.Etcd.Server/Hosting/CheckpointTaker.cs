using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// Writes checkpoints beside everything else: the owner only marks the place, then a thread of the pool reads the store piece by piece.
/// A checkpoint is due when enough entries and enough bytes have come since the last, so that its cost is in proportion to the writes.
/// </summary>
internal sealed class CheckpointTaker(
    IDisk disk, string directory, ulong entriesBetween, ReplicaHost host, Replica replica, LogWriter log, ILogger logger) : IDisposable
{
    private const int Kept = 2;
    private const long BytesBetweenMin = 64 << 20;
    private const long BytesBetweenOfSmallMax = 128 << 20;
    private const double BytesPerSecondMin = 24 << 20;

    // More than the sixteen with which the next one would be due at the end of this.
    private const double LogRateFactor = 20;
    private static readonly TimeSpan PauseMax = TimeSpan.FromMilliseconds(100);

    // What an entry costs to replay beyond its bytes, as if it were that many bytes more.
    private const int BytesOfAnEntry = 256;

    // A disk without space has none at the next entry either; each try reads the whole store.
    private const long PauseAfterFailureMilliseconds = 30_000;

    private readonly CancellationTokenSource _stopping = new();
    private LogIndex _last = replica.AppliedPosition.Index;
    private long _lastBytes;
    private long _begun;
    private long _pieceBegun;
    private bool _isWanted; // By the leader, for a member that is far behind.
    private bool _isLate; // More is to be replayed at a start than should be: it ended too early, too often.
    private long _pausedUntil;
    private Task _running = Task.CompletedTask;

    public LogIndex Last => _last;

    /// <summary>On the owner's thread: the leader's checkpoint took the place of the store and lies on our disk.</summary>
    public void Installed(LogIndex index)
    {
        _last = index;
        log.ReleaseBelow(index.Value + 1);
    }

    /// <summary>On the owner's thread, after entries were applied and now and then.</summary>
    public void Consider()
    {
        ulong entries = replica.AppliedPosition.Index - _last;
        long bytes = log.BytesWritten - _lastBytes;

        long between = BytesBetween(replica.Applier.Store.LiveBytes);
        bool due = entries >= entriesBetween && bytes + ((long)entries * BytesOfAnEntry) >= between;
        Volatile.Write(ref _isWanted, replica.Raft.CheckpointWanted);
        due |= _isWanted && entries > 0;
        if (!due || !_running.IsCompleted || host.NowMilliseconds < Interlocked.Read(ref _pausedUntil))
        {
            return;
        }

        Volatile.Write(ref _isLate, (long)entries * BytesOfAnEntry >= between);
        _lastBytes = log.BytesWritten;
        CheckpointHead head = CheckpointContent.HeadOf(replica);
        CheckpointSource source = replica.Applier.Store.BeginCheckpoint();
        replica.CheckpointBegun();
        _running = Task.Run(() => TakeAsync(head, source));
    }

    /// <summary>
    /// A checkpoint costs as much as the store is large, and saves replaying the log at the next start. Half of the store, so that each write
    /// is written down thrice in all; but no more than is replayed in a few seconds, or in a quarter of the time that reading the checkpoint
    /// takes: an entry costs seven times what a record does.
    /// </summary>
    /// <param name="live">Bytes of the store.</param>
    internal static long BytesBetween(long live) => Math.Max(BytesBetweenMin, Math.Max(Math.Min(live / 2, BytesBetweenOfSmallMax), live / 16));

    public void Dispose()
    {
        _stopping.Cancel();
        _running.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default)
            .GetAwaiter().GetResult();
        _stopping.Dispose();
    }

    private async Task TakeAsync(CheckpointHead head, CheckpointSource source)
    {
        try
        {
            CheckpointInfo info = Write(directory, head, source, _stopping.Token);
            SnapshotMetadata metadata = CheckpointContent.MetadataOf(head);
            await host.OwnAsync(
                r =>
                {
                    // One that came from the leader meanwhile is newer.
                    _last = LogIndex.Max(_last, metadata.Index);
                    r.CheckpointTaken(metadata);
                    return true;
                },
                _stopping.Token);
            log.ReleaseBelow(metadata.Index.Value + 1);
            Log.CheckpointTaken(logger, head.Index, info.FileBytes);

            // A file that is being sent may not become shorter; as a whole it goes when the sender closes it.
            CheckpointFile.DeleteOld(disk, directory, Kept, host.IsSendingSnapshot ? null : RestWhileDeleting);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // Stopping: the log has everything.
        }
#pragma warning disable CA1031 // Whatever it was is logged, and the next checkpoint is not kept from being taken.
        catch (Exception e)
#pragma warning restore CA1031
        {
            Interlocked.Exchange(ref _pausedUntil, host.NowMilliseconds + PauseAfterFailureMilliseconds);
            Log.CheckpointFailed(logger, e is IOException or TimeoutException ? e.Message : e.ToString());
            host.PostOwned(replica.CheckpointFailed);
        }
    }

    /// <summary>
    /// As long as the piece took, for half of the disk and of one core is for others. And longer while there is time: who writes little
    /// notices each write that waits for the disk, and who writes much needs the next checkpoint when a sixteenth of it is logged.
    /// </summary>
    private void Pause()
    {
        TimeSpan took = host.Time.GetElapsedTime(_pieceBegun);
        host.Times.CheckpointPieces.Observe(took.TotalSeconds);
        TimeSpan pause = took;
        if (!Volatile.Read(ref _isWanted) && !Volatile.Read(ref _isLate))
        {
            double seconds = host.Time.GetElapsedTime(_begun).TotalSeconds;
            double rate = Math.Max(BytesPerSecondMin, LogRateFactor * (log.BytesWritten - _lastBytes) / Math.Max(seconds, 1));
            TimeSpan unhurried = TimeSpan.FromSeconds(CheckpointContent.PieceBytes / rate) - took;
            pause = unhurried > pause ? unhurried : pause;
        }

        _stopping.Token.WaitHandle.WaitOne(pause < PauseMax ? pause : PauseMax);
        _pieceBegun = host.Time.GetTimestamp();
    }

    private void RestWhileDeleting()
    {
        // The next checkpoint waits for the end of this.
        if (!Volatile.Read(ref _isWanted))
        {
            _stopping.Token.WaitHandle.WaitOne(GentleDisk.RestOfDeletion);
        }

        _stopping.Token.ThrowIfCancellationRequested();
    }

    private CheckpointInfo Write(
        string into, CheckpointHead head, CheckpointSource source, CancellationToken cancellation)
    {
        try
        {
            using CheckpointWriteStream writer = CheckpointFile.Create(disk, into, head.Index);
            _begun = _pieceBegun = host.Time.GetTimestamp();
            CheckpointContent.Write(writer, head, source, host.WhileUnchanged, Pause, cancellation);
            long ending = host.Time.GetTimestamp();
            CheckpointInfo info = writer.Commit();
            host.Times.CheckpointFlushes.Observe(host.Time.GetElapsedTime(ending).TotalSeconds);
            host.Times.Checkpoints.Observe(host.Time.GetElapsedTime(_begun).TotalSeconds);
            return info;
        }
        finally
        {
            host.PostOwned(source.End);
        }
    }
}

using System.Collections.Concurrent;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Microsoft.Extensions.Logging;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// The shell around a <see cref="Replica"/>: one thread owns it and takes turns (proposals, reads, ticks, "written" come through an
/// inbox, the log's writer works beside it). Who reads the store from another thread holds <see cref="Reading"/>; the owner takes the
/// other side of that lock while it changes the store, for one batch of entries at a time.
/// </summary>
public sealed class ReplicaHost : IReplicaWaiters, IAsyncDisposable
{
    private const int InboxMax = 65536;
    private const int ReadRetryTicks = 5;
    private static readonly TimeSpan RequestTimeout = TimeSpan.FromSeconds(7); // etcd: config.go ReqTimeout with its defaults

    private static readonly TimeSpan SlowApply = TimeSpan.FromMilliseconds(100); // etcd: embed/config.go DefaultWarningApplyDuration

    private readonly Replica _replica;
    private readonly LogWriter _log;
    private readonly CheckpointTaker _checkpoints;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Thread _thread;
    private readonly ConcurrentQueue<object> _inbox = new();
    private readonly AutoResetEvent _wake = new(false);
    private readonly ReaderWriterLockSlim _gate = new(LockRecursionPolicy.NoRecursion);
    private readonly Dictionary<ulong, Proposal> _proposals = []; // Of the owner's thread, as all below.
    private readonly List<Proposal> _withoutLeader = [];
    private readonly Dictionary<ulong, ReadBatch> _reads = [];
    private readonly PriorityQueue<ReadBatch, ulong> _confirmedReads = new();
    private readonly TaskCompletionSource<Exception?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _tickMilliseconds;
    private ITimer? _ticker;
    private ulong _nextRequest;
    private ulong _nextRead = 1;
    private ulong _ticks;
    private long _failedProposals;
    private long _failedReads;
    private int _signaled;
    private int _queued;
    private volatile bool _stopping;

    internal ReplicaHost(
        LoadedReplica loaded, IDisk disk, ReplicaSettings settings, ulong checkpointEntries, TimeProvider time, Prng prng, ILogger logger)
    {
        _replica = loaded.Replica;
        _time = time;
        _logger = logger;
        _tickMilliseconds = settings.TickMilliseconds;

        // Random, so that numbers of requests in the log of an earlier life of this member are not taken for this one's.
        _nextRequest = prng.NextUInt64() | 1;
        _log = new LogWriter(loaded.Log, loaded.LogHead, number => Post(new Persisted(number)), Fail, time);
        _checkpoints = new CheckpointTaker(disk, settings.CheckpointDirectory, checkpointEntries, this, _replica, _log, logger);
        _thread = new Thread(Run) { Name = "kapell-replica", IsBackground = true };
    }

    /// <summary>Ends with what stopped the host, or null after <see cref="DisposeAsync"/>.</summary>
    public Task<Exception?> Ended => _ended.Task;

    /// <summary>Ends when a leader is known for the first time.</summary>
    public Task Ready => _ready.Task;

    public MvccStore Store => _replica.Applier.Store;

    /// <summary>As of the last turn; to be read under <see cref="Reading"/> when it must belong to what is read.</summary>
    public ReplyHeader Header => _replica.Header;

    public Replica Replica => _replica;

    public long NowMilliseconds => _time.GetTimestamp() / (_time.TimestampFrequency / 1000);

    public TimeProvider Time => _time;

    public long WalSyncs => _log.Syncs;

    public long WalBytes => _log.BytesWritten;

    public int PendingProposals => _proposals.Count;

    /// <summary>Counts since the start, for who watches over this member.</summary>
    public long LeaderChanges { get; private set; }

    public long FailedProposals => Interlocked.Read(ref _failedProposals);

    public long FailedReads => Interlocked.Read(ref _failedReads);

    /// <summary>Confirmations of reads that had to be asked for again.</summary>
    public long SlowReads { get; private set; }

    /// <summary>Batches of entries that took longer to apply than upstream's flag of 100 ms says.</summary>
    public long SlowApplies { get; private set; }

    internal Histogram WalFlushSeconds => _log.FlushSeconds;

    public void Start()
    {
        _log.Start();
        _thread.Start();
        TimeSpan tick = TimeSpan.FromMilliseconds(_tickMilliseconds);
        _ticker = _time.CreateTimer(_ => Post(TickMark.Instance), null, tick, tick);
    }

    /// <summary>Runs while nobody changes the store. Short, and without waiting for anything.</summary>
    public T Reading<T>(Func<T> read)
    {
        _gate.EnterReadLock();
        try
        {
            return read();
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    /// <summary>As <see cref="Reading"/>, for what has no result.</summary>
    public void WhileUnchanged(Action work)
    {
        _gate.EnterReadLock();
        try
        {
            work();
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    public void EnterReading() => _gate.EnterReadLock();

    public void ExitReading() => _gate.ExitReadLock();

    /// <summary>Proposes and waits until it is applied here.</summary>
    public async Task<ApplyOutcome> ProposeAsync(CommandKind kind, IMessage request, CancellationToken cancellation)
    {
        ulong id = Interlocked.Increment(ref _nextRequest);
        Proposal proposal = new(id, new Command(id, kind, request).Encode());
        if (Volatile.Read(ref _queued) > InboxMax)
        {
            return new ApplyOutcome(EtcdError.TooManyRequests, null);
        }

        Post(proposal);
        return await Wait(proposal.Completion.Task, new ApplyOutcome(EtcdError.Timeout, null), () => Interlocked.Increment(ref _failedProposals), cancellation);
    }

    /// <summary>Ends when the store here has everything that was acknowledged anywhere before the call; an error when that failed.</summary>
    public async Task<EtcdError?> ReadBarrierAsync(CancellationToken cancellation)
    {
        ReadWaiter waiter = new();
        Post(waiter);
        return await Wait(waiter.Completion.Task, EtcdError.Timeout, () => Interlocked.Increment(ref _failedReads), cancellation);
    }

    /// <summary>Runs something on the owner's thread while nobody reads.</summary>
    public async Task<T> OwnAsync<T>(Func<Replica, T> work, CancellationToken cancellation)
    {
        TaskCompletionSource<T> completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(new OwnedWork(() =>
        {
            try
            {
                completion.TrySetResult(work(_replica));
            }
            catch (Exception e) when (e is not InvariantBrokenException)
            {
                completion.TrySetException(e);
            }
        }));
        return await completion.Task.WaitAsync(RequestTimeout, _time, cancellation);
    }

    bool IReplicaWaiters.IsWaiting(ulong requestId) => _proposals.ContainsKey(requestId);

    void IReplicaWaiters.Complete(ulong requestId, ApplyOutcome outcome)
    {
        if (_proposals.Remove(requestId, out Proposal? proposal))
        {
            proposal.Completion.TrySetResult(outcome);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_ticker is not null)
        {
            await _ticker.DisposeAsync();
        }

        _stopping = true;
        _wake.Set();
        if (_thread.IsAlive)
        {
            await _ended.Task;
            _thread.Join();
        }

        _checkpoints.Dispose();
        _log.Dispose();
        _replica.Dispose();
        _gate.Dispose();
        _wake.Dispose();
    }

    internal void Post(object item)
    {
        Interlocked.Increment(ref _queued);
        _inbox.Enqueue(item);
        if (Interlocked.Exchange(ref _signaled, 1) == 0)
        {
            _wake.Set();
        }
    }

    /// <summary>As <see cref="OwnAsync"/>, for what nobody waits for.</summary>
    internal void PostOwned(Action work) => Post(new OwnedWork(work));

    private async Task<T> Wait<T>(Task<T> task, T timedOut, Action count, CancellationToken cancellation)
    {
        try
        {
            return await task.WaitAsync(RequestTimeout, _time, cancellation);
        }
        catch (TimeoutException)
        {
            count();
            return timedOut;
        }
    }

    private void Fail(Exception cause)
    {
        _ended.TrySetResult(cause);
        _stopping = true;
        _wake.Set();
    }

    private void Run()
    {
        try
        {
            while (!_stopping)
            {
                Turn();
                _wake.WaitOne();
                Interlocked.Exchange(ref _signaled, 0);
            }

            _ended.TrySetResult(null);
        }
        catch (Exception e)
        {
            _ended.TrySetResult(e);
        }

        RefuseAll(EtcdError.Stopped);
    }

    private void Turn()
    {
        do
        {
            _replica.SetTime(NowMilliseconds);
            List<ReadWaiter>? readers = null;
            while (_inbox.TryDequeue(out object? item))
            {
                Interlocked.Decrement(ref _queued);
                Take(item, ref readers);
            }

            if (readers is not null)
            {
                StartRead(new ReadBatch(readers));
            }

            CampaignIfAlone();
            while (_replica.Raft.HasReady)
            {
                Handle(_replica.TakeReady());
            }
        }
        while (!_inbox.IsEmpty);
    }

    private void Take(object item, ref List<ReadWaiter>? readers)
    {
        switch (item)
        {
            case Proposal proposal:
                Propose(proposal);
                break;
            case ReadWaiter waiter:
                (readers ??= []).Add(waiter);
                break;
            case Persisted persisted:
                _replica.Raft.Persisted(persisted.Number);
                break;
            case OwnedWork work:
                Owning(work.Run);
                break;
            case TickMark:
                Tick();
                break;
            default:
                Check.Unreachable($"{item.GetType()} in the inbox");
                break;
        }
    }

    private void Propose(Proposal proposal)
    {
        ProposeResult result = _replica.Raft.Propose(proposal.Data);
        switch (result)
        {
            case ProposeResult.Accepted:
                _proposals.Add(proposal.Id, proposal);
                break;
            case ProposeResult.NoLeader or ProposeResult.TransferInProgress:
                _withoutLeader.Add(proposal);
                break;
            default:
                proposal.Completion.TrySetResult(new ApplyOutcome(EtcdError.TooManyRequests, null));
                break;
        }
    }

    private void Tick()
    {
        _ticks++;
        Owning(() => _replica.Tick(NowMilliseconds));
        if (_ticks % 50 == 0)
        {
            ForgetAbandoned();
        }

        foreach (ReadBatch late in _reads.Values.Where(b => _ticks - b.AskedAt >= ReadRetryTicks).ToArray())
        {
            // The answer was lost, or could not be had: ask anew. etcd: v3_server.go readIndexRetryTime
            SlowReads++;
            _reads.Remove(late.Context);
            StartRead(late);
        }
    }

    /// <summary>Nobody waits any more for what timed out long ago.</summary>
    private void ForgetAbandoned()
    {
        long now = NowMilliseconds;
        foreach (Proposal old in _proposals.Values.Where(p => p.Age(now) > 60_000).ToArray())
        {
            _proposals.Remove(old.Id);
        }
    }

    private void StartRead(ReadBatch batch)
    {
        batch.Context = _nextRead++;
        batch.AskedAt = _ticks;
        _reads.Add(batch.Context, batch);

        // False means that there is no leader: the next try comes with the ticks.
        _replica.Raft.ReadIndex(batch.Context);
    }

    private void CampaignIfAlone()
    {
        // etcd: a single member campaigns at once instead of waiting for its timeout.
        bool alone = _replica.Raft.ConfState.IsSingleVoter && _replica.Raft.ConfState.Voters[0] == _replica.Raft.Id;
        if (alone && _replica.Raft.Role == Role.Follower && _replica.Raft.Committed == _replica.AppliedPosition.Index)
        {
            _replica.Raft.Campaign();
        }
    }

    private void Handle(Ready ready)
    {
        if (ready.SoftState is { } soft)
        {
            LeaderChanged(soft);
        }

        if (ready.NeedsPersist)
        {
            _log.Add(ready);
        }

        foreach (ReadState read in ready.ReadStates)
        {
            if (_reads.Remove(read.Context, out ReadBatch? batch))
            {
                _confirmedReads.Enqueue(batch, read.Index.Value);
            }
        }

        if (ready.Committed.Count > 0)
        {
            long began = _time.GetTimestamp();
            Owning(() => _replica.Apply(ready.Committed, this));
            SlowApplies += _time.GetElapsedTime(began) > SlowApply ? 1 : 0;
            _checkpoints.Consider();
        }

        while (_confirmedReads.TryPeek(out ReadBatch? next, out ulong index) && index <= _replica.AppliedPosition.Index.Value)
        {
            _confirmedReads.Dequeue();
            next.Waiters.ForEach(static w => w.Completion.TrySetResult(null));
        }
    }

    private void LeaderChanged(SoftState soft)
    {
        Log.LeaderChanged(_logger, soft.Role, soft.Leader, _replica.Raft.Term);
        if (soft.Leader.IsNone)
        {
            return;
        }

        LeaderChanges++;
        _ready.TrySetResult();
        List<Proposal> again = [.. _withoutLeader];
        _withoutLeader.Clear();
        again.ForEach(Propose);
    }

    private void Owning(Action work)
    {
        _gate.EnterWriteLock();
        try
        {
            work();
        }
        finally
        {
            _gate.ExitWriteLock();
        }
    }

    private void RefuseAll(EtcdError error)
    {
        foreach (Proposal proposal in _proposals.Values.Concat(_withoutLeader))
        {
            proposal.Completion.TrySetResult(new ApplyOutcome(error, null));
        }

        IEnumerable<ReadBatch> batches = _reads.Values.Concat(_confirmedReads.UnorderedItems.Select(static i => i.Element));
        foreach (ReadWaiter waiter in batches.SelectMany(static b => b.Waiters))
        {
            waiter.Completion.TrySetResult(error);
        }
    }

    private sealed class TickMark
    {
        public static readonly TickMark Instance = new();
    }

    private sealed record Persisted(ulong Number);

    private sealed record OwnedWork(Action Run);

    private sealed class ReadWaiter
    {
        public TaskCompletionSource<EtcdError?> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class ReadBatch(List<ReadWaiter> waiters)
    {
        public List<ReadWaiter> Waiters { get; } = waiters;

        public ulong Context { get; set; }

        public ulong AskedAt { get; set; }
    }

    private sealed class Proposal(ulong id, byte[] data)
    {
        private long _firstSeen;

        public ulong Id { get; } = id;

        public byte[] Data { get; } = data;

        public TaskCompletionSource<ApplyOutcome> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Milliseconds since this was asked first.</summary>
        public long Age(long now)
        {
            _firstSeen = _firstSeen == 0 ? now : _firstSeen;
            return now - _firstSeen;
        }
    }
}

using System.Collections.Concurrent;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;
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
public sealed class ReplicaHost : IReplicaWaiters, IPeerEvents, IAsyncDisposable
{
    private const string RemovedText = "the member has been permanently removed from the cluster; its data directory is of no use any more";
    private const int InboxMax = 65536;
    private const int ReadRetryTicks = 5;
    private const int LateCheckTicks = 5;
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
    private readonly Queue<(ulong Number, IReadOnlyList<Message> Messages)> _afterPersist = new();
    private readonly SortedDictionary<ulong, (CheckpointHead Head, MvccStore Store)> _received = [];
    private (ulong Number, CheckpointHead Head, MvccStore Store)? _installing;
    private IPeerTransport _transport = new NoPeers();
    private ulong _knownMembership;
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

    /// <summary>Before <see cref="Start"/>: the way to the other members.</summary>
    internal void Connect(IPeerTransport transport) => _transport = transport;

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
        TellMembers();
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
    public Task<ApplyOutcome> ProposeAsync(CommandKind kind, IMessage request, CancellationToken cancellation, Caller caller = default)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.FromCanceled<ApplyOutcome>(cancellation);
        }

        ulong id = Interlocked.Increment(ref _nextRequest);
        Proposal proposal = new(id, new Command(id, kind, request) { Caller = caller }.Encode());
        if (Volatile.Read(ref _queued) > InboxMax)
        {
            return Task.FromResult(new ApplyOutcome(EtcdError.TooManyRequests, null));
        }

        return PostProposal(proposal);
    }

    /// <summary>
    /// Proposes a change of one member and waits until it is applied here. The outcome carries no reply; an error when it was refused or
    /// its fate is not known in time.
    /// </summary>
    public Task<ApplyOutcome> ChangeMembershipAsync(ConfChangeKind kind, ulong member, Member? entry, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        ulong id = Interlocked.Increment(ref _nextRequest);
        ConfChange change = ConfChange.Of(kind, new MemberId(member), new MembershipContext(id, entry).Encode());
        Proposal proposal = new(id, change.Encode()) { Change = change };
        return PostProposal(proposal);
    }

    // The owner ends it: when it is applied, when its time is up (see EndLate), or when the member stops.
    private Task<ApplyOutcome> PostProposal(Proposal proposal)
    {
        Post(proposal);
        if (_stopping)
        {
            proposal.Completion.TrySetResult(new ApplyOutcome(EtcdError.Stopped, null));
        }

        return proposal.Completion.Task;
    }

    /// <summary>Asks the other member to lead; ends when it does. etcd: server.go moveLeader</summary>
    public async Task<EtcdError?> MoveLeaderAsync(MemberId successor, CancellationToken cancellation)
    {
        EtcdError? refusal = await OwnAsync(
            replica => replica.Raft.Role != Role.Leader ? EtcdError.NotLeader
                : !replica.Raft.ConfState.Voters.Contains(successor) ? EtcdError.BadLeaderTransferee
                : replica.Raft.TransferLeadership(successor) ? null : EtcdError.NoLeader,
            cancellation);
        long begun = _time.GetTimestamp();
        while (refusal is null && _replica.Raft.Leader != successor)
        {
            if (_time.GetElapsedTime(begun) > RequestTimeout)
            {
                return EtcdError.TimeoutLeaderTransfer;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(_tickMilliseconds / 4), _time, cancellation);
        }

        return refusal;
    }

    public bool Received(Message message)
    {
        if (Volatile.Read(ref _queued) > InboxMax)
        {
            return false;
        }

        Post(message);
        return true;
    }

    void IPeerEvents.Received(InstallSnapshot message, CheckpointHead head, MvccStore store) => Post(new Checkpoint(message, head, store));

    void IPeerEvents.Unreachable(MemberId member) => Post(new Report(raft => raft.ReportUnreachable(member)));

    void IPeerEvents.Disconnected(MemberId member) => Post(new Report(raft =>
    {
        raft.ReportUnreachable(member);
        raft.ReportDisconnected(member);
    }));

    void IPeerEvents.RemovedHere() => Fail(new InvalidDataException(RemovedText));

    void IPeerEvents.SnapshotSent(MemberId member, bool whole) => Post(new Report(raft => raft.ReportSnapshot(member, whole)));

    internal void Received(InstallSnapshot message, CheckpointHead head, MvccStore store) => ((IPeerEvents)this).Received(message, head, store);

    /// <summary>Ends when the store here has everything that was acknowledged anywhere before the call; an error when that failed.</summary>
    public Task<EtcdError?> ReadBarrierAsync(CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.FromCanceled<EtcdError?>(cancellation);
        }

        ReadWaiter waiter = new();
        Post(waiter);
        if (_stopping)
        {
            waiter.Completion.TrySetResult(EtcdError.Stopped);
        }

        return waiter.Completion.Task;
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
            case Message message:
                StepResult fate = _replica.Raft.Step(message);
                if (fate == StepResult.Malformed)
                {
                    Log.MessageRefused(_logger, message.From, fate);
                }

                break;
            case Persisted persisted:
                Persist(persisted.Number);
                break;
            case Checkpoint checkpoint:
                Offer(checkpoint);
                break;
            case Report report:
                report.Tell(_replica.Raft);
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
        ProposeResult result = proposal.Change is { } change
            ? _replica.Raft.ProposeConfChange(change)
            : _replica.Raft.Propose(proposal.Data);
        switch (result)
        {
            case ProposeResult.ConfChangePending or ProposeResult.ConfChangeInvalid or ProposeResult.NotMember:
                proposal.Completion.TrySetResult(new ApplyOutcome(EtcdError.Unhealthy, null));
                break;
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
        if (_ticks % LateCheckTicks == 0)
        {
            EndLate();
        }

        foreach (ReadBatch late in _reads.Values.Where(b => _ticks - b.AskedAt >= ReadRetryTicks).ToArray())
        {
            // The answer was lost, or could not be had: ask anew. etcd: v3_server.go readIndexRetryTime
            SlowReads++;
            _reads.Remove(late.Context);
            StartRead(late);
        }
    }

    // One look now and then instead of a timer for each request.
    private void EndLate()
    {
        long now = NowMilliseconds;
        foreach (Proposal late in _proposals.Values.Concat(_withoutLeader).Where(p => p.Age(now) > RequestTimeout.TotalMilliseconds).ToArray())
        {
            _proposals.Remove(late.Id);
            _withoutLeader.Remove(late);
            _failedProposals++;
            late.Completion.TrySetResult(new ApplyOutcome(EtcdError.Timeout, null));
        }

        foreach (ReadBatch late in _reads.Values.Where(b => b.Age(now) > RequestTimeout.TotalMilliseconds).ToArray())
        {
            _reads.Remove(late.Context);
            _failedReads += late.Waiters.Count;
            late.Waiters.ForEach(static w => w.Completion.TrySetResult(EtcdError.Timeout));
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

    private void Persist(ulong number)
    {
        if (_installing is { } install && install.Number <= number)
        {
            _installing = null;
            Owning(() => _replica.Install(install.Head, install.Store));
            _checkpoints.Installed(new LogIndex(install.Head.Index));
            Log.CheckpointInstalled(_logger, install.Head.Index);
        }

        _replica.Raft.Persisted(number);
        while (_afterPersist.TryPeek(out (ulong Number, IReadOnlyList<Message> Messages) next) && next.Number <= number)
        {
            _afterPersist.Dequeue();
            _transport.Send(next.Messages);
        }
    }

    /// <summary>Raft decides whether it wants the checkpoint; the next <see cref="Ready"/> says so.</summary>
    private void Offer(Checkpoint checkpoint)
    {
        ulong index = checkpoint.Head.Index;
        if (_received.Remove(index, out (CheckpointHead Head, MvccStore Store) former))
        {
            former.Store.Dispose();
        }

        _received[index] = (checkpoint.Head, checkpoint.Store);
        if (_replica.Raft.Step(checkpoint.Message) != StepResult.Taken)
        {
            _received.Remove(index);
            checkpoint.Store.Dispose();
        }
    }

    private void TakeCheckpoint(Ready ready)
    {
        if (ready.Snapshot is { } wanted)
        {
            Check.That(_received.Remove(wanted.Index.Value, out (CheckpointHead Head, MvccStore Store) found));
            Check.That(_installing is null);
            _installing = (ready.Number, found.Head, found.Store);
        }

        foreach ((_, (_, MvccStore unwanted)) in _received)
        {
            unwanted.Dispose();
        }

        _received.Clear();
    }

    /// <summary>Who the others are, when it may have changed; the end of this member when it was removed.</summary>
    private void TellMembers()
    {
        MemberRegistry members = _replica.Applier.Members;
        _knownMembership = _replica.MembershipVersion;
        _transport.Know(_replica.Raft.Id.Value, members.All, members.Removed);
        if (members.All.Count > 0)
        {
            Log.MembersChanged(_logger, string.Join(", ", members.All.Select(static m => $"{m.ID:x}{(m.IsLearner ? " (learner)" : "")} {m.Name}")));
        }

        if (members.Removed.Contains(_replica.Raft.Id.Value))
        {
            throw new InvalidDataException(RemovedText);
        }
    }

    private void Handle(Ready ready)
    {
        _transport.Send(ready.Messages);
        if (ready.MessagesAfterPersist.Count > 0)
        {
            _afterPersist.Enqueue((ready.Number, ready.MessagesAfterPersist));
        }

        if (_received.Count > 0)
        {
            TakeCheckpoint(ready);
        }

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
            if (_replica.MembershipVersion != _knownMembership)
            {
                TellMembers();
            }
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
        while (_inbox.TryDequeue(out object? item))
        {
            (item as Proposal)?.Completion.TrySetResult(new ApplyOutcome(error, null));
            (item as ReadWaiter)?.Completion.TrySetResult(error);
        }

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

    private sealed record Report(Action<RaftNode> Tell);

    private sealed record Checkpoint(InstallSnapshot Message, CheckpointHead Head, MvccStore Store);

    private sealed class ReadWaiter
    {
        public TaskCompletionSource<EtcdError?> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    private sealed class ReadBatch(List<ReadWaiter> waiters)
    {
        public List<ReadWaiter> Waiters { get; } = waiters;

        public ulong Context { get; set; }

        public ulong AskedAt { get; set; }

        private long _firstSeen;

        /// <summary>Milliseconds since this was asked first.</summary>
        public long Age(long now)
        {
            _firstSeen = _firstSeen == 0 ? now : _firstSeen;
            return now - _firstSeen;
        }
    }

    private sealed class Proposal(ulong id, byte[] data)
    {
        private long _firstSeen;

        public ulong Id { get; } = id;

        public byte[] Data { get; } = data;

        /// <summary>Set when this is a change of the membership.</summary>
        public ConfChange? Change { get; init; }

        public TaskCompletionSource<ApplyOutcome> Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Milliseconds since this was asked first.</summary>
        public long Age(long now)
        {
            _firstSeen = _firstSeen == 0 ? now : _firstSeen;
            return now - _firstSeen;
        }
    }
}

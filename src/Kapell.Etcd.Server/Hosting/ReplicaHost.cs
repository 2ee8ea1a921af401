using System.Collections.Concurrent;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Metrics;
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
/// The shell around a <see cref="Replica"/>: turns are taken by one thread at a time (proposals, reads, "written" come through an
/// inbox). Whichever thread has heard what there is to do takes the turn (<see cref="WorkBatch"/>), for waking another costs more than most
/// turns; a thread of its own takes those that nobody else does, and sees to it that there is one when it is time for a tick. Who reads
/// the store holds <see cref="Reading"/>; the owner of the turn takes the other side of that lock while it changes the store, for one batch
/// of entries at a time.
/// </summary>
public sealed class ReplicaHost : IReplicaDuties, IPeerEvents, IDeferred, IAsyncDisposable
{
    private const int InboxMax = 65536;
    private static readonly TimeSpan RequestTimeout = TimeSpan.FromMilliseconds(ReplicaTurns.RequestMilliseconds);

    private const int MaintenanceRecords = 4;
    private const int MaintenanceStepMax = 2048;
    private const int RoundsForOthers = 6;
    private const int FewWaiting = 2;

    private readonly Replica _replica;
    private readonly ReplicaTurns _turns; // Of the owner's thread.
    private readonly LogWriter _log;
    private readonly CheckpointTaker _checkpoints;
    private readonly TimeProvider _time;
    private readonly TimeSpan _slowApply;
    private readonly ILogger _logger;
    private readonly Thread _thread;
    private readonly ConcurrentQueue<object> _inbox = new();
    private readonly AutoResetEvent _wake = new(false);
    private readonly ReaderWriterLockSlim _gate = new(LockRecursionPolicy.NoRecursion);
    private IPeerTransport _transport = new NoPeers();
    private readonly TaskCompletionSource<Exception?> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly int _tickMilliseconds;
    private readonly long _tickLength; // In the clock's units, as the next one.
    private long _nextTick; // Written by the owner of the turn.
    private ulong _nextRequest;
    private readonly PromptAnswers _prompt = new();
    private long _maintainedAt; // When the last step ended.
    private long _maintainedFor; // What it took; both as timestamps.
    private volatile bool _isMaintenanceDue; // A step is in the inbox: never two, or whoever takes the turn would find the next one at its end.
    private int _turn; // 1 while a thread takes turns.
    private volatile bool _abandoned;
    private int _signaled;
    private int _isLookDue; // 1 while a look at the clock is in the inbox.
    private int _queued;
    private volatile bool _stopping;

    internal ReplicaHost(
        LoadedReplica loaded, IDisk disk, ReplicaSettings settings, ulong checkpointEntries, TimeProvider time, Prng prng, ILogger logger)
    {
        _replica = loaded.Replica;
        _time = time;
        Times = new MemberTimes(time);
        _replica.Applier.Times = Times.Applies;
        _logger = logger;
        (_tickMilliseconds, LearnersMax, _slowApply) = (settings.TickMilliseconds, settings.LearnersMax, settings.SlowApplyAfter);
        _tickLength = Math.Max(1, time.TimestampFrequency * settings.TickMilliseconds / 1000);

        // Random, so that numbers of requests in the log, and late answers to reads, of an earlier life of this member are not taken for
        // this one's.
        _turns = new ReplicaTurns(_replica, this, firstRead: prng.NextUInt64());
        _nextRequest = prng.NextUInt64() | 1;
        _log = new LogWriter(disk, loaded.Log, loaded.LogHead, number => Post(new Persisted(number)), Fail, time, Times, logger);
        _checkpoints = new CheckpointTaker(disk, settings.CheckpointDirectory, checkpointEntries, this, _replica, _log, logger);
        _thread = new Thread(Run) { Name = "kapell-replica", IsBackground = true };
        Hashes = new StoreHashes(this);
    }

    /// <summary>Ends with what stopped the host, or null after <see cref="DisposeAsync"/>.</summary>
    public Task<Exception?> Ended => _ended.Task;

    /// <summary>Ends when a leader is known for the first time.</summary>
    public Task Ready => _ready.Task;

    public MvccStore Store => _replica.Applier.Store;

    /// <summary>As of the last turn; to be read under <see cref="Reading"/> when it must belong to what is read.</summary>
    public ReplyHeader Header => _replica.Header;

    public Replica Replica => _replica;

    public StoreHashes Hashes { get; }

    /// <summary>More are not taken in at a time; goes into the log with each learner.</summary>
    public int LearnersMax { get; }

    /// <summary>It takes part without a vote. From any thread.</summary>
    public bool IsLearner => _replica.Raft.ConfState.Learners is { IsEmpty: false } learners && learners.Contains(_replica.Raft.Id);

    /// <summary>Before <see cref="Start"/>: the way to the other members.</summary>
    internal void Connect(IPeerTransport transport) => _transport = transport;

    /// <summary>Before <see cref="Start"/>: is told of everything that is carried out; null for none.</summary>
    internal BackupKeeper? Backups { get; set; }

    public long NowMilliseconds => _time.GetTimestamp() / (_time.TimestampFrequency / 1000);

    public TimeProvider Time => _time;

    internal bool IsSendingSnapshot => _transport.IsSendingSnapshot;

    public long WalSyncs => _log.Syncs;

    public long WalBytes => _log.BytesWritten;

    public int PendingProposals => _turns.PendingProposals;

    /// <summary>Counts since the start, for who watches over this member.</summary>
    public long LeaderChanges { get; private set; }

    public long FailedProposals => _turns.FailedProposals;

    public long FailedReads => _turns.FailedReads;

    /// <summary>Confirmations of reads that had to be asked for again.</summary>
    public long SlowReads => _turns.SlowReads;

    /// <summary>Batches of entries that took longer to apply than upstream's flag of 100 ms says.</summary>
    public long SlowApplies { get; private set; }

    /// <summary>Heartbeats that this member sent late, as leader, by more than the time between two.</summary>
    public long LateHeartbeats { get; private set; }

    /// <summary>Learners that this member, as leader, made voters by itself.</summary>
    public long Promotions { get; private set; }

    /// <summary>How long this member's work took.</summary>
    internal MemberTimes Times { get; }

    public void Start()
    {
        TellMembers();
        _log.Start();
        _nextTick = _time.GetTimestamp() + _tickLength;
        _thread.Start();
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

    /// <summary>Proposes and waits until it is applied here. The request must not change any more.</summary>
    /// <param name="prompt">Who waits has only an answer to send and may do so on the owner's thread: no lock, no wait, no loop.</param>
    public Task<ApplyOutcome> ProposeAsync(
        CommandKind kind, IMessage request, CancellationToken cancellation, Caller caller = default, bool prompt = false)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.FromCanceled<ApplyOutcome>(cancellation);
        }

        ulong id = Interlocked.Increment(ref _nextRequest);
        if (Volatile.Read(ref _queued) > InboxMax)
        {
            return Task.FromResult(new ApplyOutcome(EtcdError.TooManyRequests, null));
        }

        Command command = new(id, kind, request) { Caller = caller };
        byte[] encoded = command.Encode();
        if (prompt)
        {
            PromptAnswers.Outcome<ApplyOutcome> answer = new(_prompt);
            return PostProposal(new Proposal(id, encoded, answer) { Command = command }, answer.Task);
        }

        TaskOutcome<ApplyOutcome> outcome = new();
        return PostProposal(new Proposal(id, encoded, outcome) { Command = command }, outcome.Task);
    }

    /// <summary>
    /// Proposes a change of one member and waits until it is applied here. The outcome carries no reply; an error when it was refused or
    /// its fate is not known in time.
    /// </summary>
    public Task<ApplyOutcome> ChangeMembershipAsync(ConfChangeKind kind, ulong member, Member? entry, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        ulong id = Interlocked.Increment(ref _nextRequest);
        ConfChange change = ConfChange.Of(kind, new MemberId(member), new MembershipContext(id, entry) { LearnersMax = LearnersMax }.Encode());
        TaskOutcome<ApplyOutcome> outcome = new();
        Proposal proposal = new(id, change.Encode(), outcome) { Change = change };
        return PostProposal(proposal, outcome.Task);
    }

    // The owner ends it: when it is applied, when its time is up, or when the member stops.
    private Task<ApplyOutcome> PostProposal(Proposal proposal, Task<ApplyOutcome> outcome)
    {
        Post(proposal);
        if (_stopping)
        {
            proposal.Outcome.Set(new ApplyOutcome(EtcdError.Stopped, null));
        }

        return outcome;
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

    /// <summary>The store is freed soon: who reads it bit by bit must not go on.</summary>
    public bool IsStopping => _stopping;

    /// <summary>More waits than a turn should take: nothing is to be given now.</summary>
    public bool IsFull => Volatile.Read(ref _queued) > InboxMax;

    public void Received(Message message) => Post(message);

    void IPeerEvents.Received(InstallSnapshot message, CheckpointHead head, MvccStore store) => Post(new Checkpoint(message, head, store));

    void IPeerEvents.Unreachable(MemberId member) => Post(new Report(raft => raft.ReportUnreachable(member)));

    void IPeerEvents.Disconnected(MemberId member) => Post(new Report(raft =>
    {
        raft.ReportUnreachable(member);
        raft.ReportDisconnected(member);
    }));

    void IPeerEvents.RemovedHere() => Fail(new MemberRemovedException());

    void IPeerEvents.SnapshotSent(MemberId member, bool whole) => Post(new Report(raft => raft.ReportSnapshot(member, whole)));

    internal void Received(InstallSnapshot message, CheckpointHead head, MvccStore store) => ((IPeerEvents)this).Received(message, head, store);

    /// <summary>Ends when the store here has everything that was acknowledged anywhere before the call; an error when that failed.</summary>
    /// <param name="prompt">As for a proposal: what follows is short.</param>
    public Task<EtcdError?> ReadBarrierAsync(CancellationToken cancellation, bool prompt = false)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.FromCanceled<EtcdError?>(cancellation);
        }

        if (prompt)
        {
            PromptAnswers.Outcome<EtcdError?> answer = new(_prompt);
            PostRead(answer);
            return answer.Task;
        }

        TaskOutcome<EtcdError?> waiter = new();
        PostRead(waiter);
        return waiter.Task;
    }

    /// <summary>Renews leases by the clock of now; see <see cref="Replica.RenewLease"/>. What follows is short.</summary>
    internal Task<LeaseRenewal> RenewLeasesAsync(long[] ids, CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested)
        {
            return Task.FromCanceled<LeaseRenewal>(cancellation);
        }

        PromptAnswers.Outcome<LeaseRenewal> outcome = new(_prompt);
        Post(new Renewal(ids, outcome));
        if (_stopping)
        {
            outcome.Set(LeaseRenewal.Refused(EtcdError.Stopped));
        }

        return outcome.Task;
    }

    private void Renew(Renewal renewal)
    {
        LeaseRenewal result = LeaseRenewal.Refused(EtcdError.NotLeader);
        Own(() =>
        {
            // The turn may have begun before the client asked, and its time must not be less than it was told.
            _replica.SetTime(NowMilliseconds);
            long[] ttls = new long[renewal.Ids.Length];
            bool proven = true;
            for (int i = 0; i < ttls.Length; i++)
            {
                if (_replica.RenewLease(renewal.Ids[i], out bool certain) is not { } ttl)
                {
                    return;
                }

                (ttls[i], proven) = (ttl, proven && certain);
            }

            result = new LeaseRenewal(null, ttls, proven, _replica.Raft.Term, _replica.Applier.Store.Revision);
        });
        renewal.Outcome.Set(result);
    }

    private void PostRead(IOutcome<EtcdError?> waiter)
    {
        Post(waiter);
        if (_stopping)
        {
            waiter.Set(EtcdError.Stopped);
        }
    }

    /// <summary>Runs something on the owner's thread while nobody reads.</summary>
    public Task<T> OwnAsync<T>(Func<Replica, T> work, CancellationToken cancellation) => OwnAsync(work, null, cancellation);

    /// <param name="undo">On the owner's thread, with the result, when the caller has given up before it was there.</param>
    public async Task<T> OwnAsync<T>(Func<Replica, T> work, Action<T>? undo, CancellationToken cancellation)
    {
        TaskCompletionSource<T> completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Post(new OwnedWork(() =>
        {
            try
            {
                T result = work(_replica);
                if (!completion.TrySetResult(result))
                {
                    undo?.Invoke(result);
                }
            }
            catch (Exception e) when (e is not InvariantBrokenException)
            {
                completion.TrySetException(e);
            }
        }));
        try
        {
            return await completion.Task.WaitAsync(RequestTimeout, _time, cancellation);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            if (completion.TrySetCanceled(CancellationToken.None))
            {
                throw;
            }

            // It was done just now.
            return await completion.Task;
        }
    }

    public async ValueTask DisposeAsync()
    {
        _stopping = true;
        _wake.Set();
        if (_thread.IsAlive)
        {
            await _ended.Task;
            _thread.Join();
        }

        await Hashes.DisposeAsync();
        _checkpoints.Dispose();
        _log.Dispose();
        Own(_replica.Dispose);
        _gate.Dispose();
        _wake.Dispose();
    }

    internal void Post(object item)
    {
        Interlocked.Increment(ref _queued);
        _inbox.Enqueue(item);
        if (!_prompt.IsOwner && !WorkBatch.TakesTurn(this))
        {
            WakeOwner();
        }
    }

    /// <summary>
    /// The end of a batch on another thread: that thread takes the turn, unless one is being taken, which will find what was posted. When
    /// more waits after a round than what comes of it, the owner's thread goes on: a round waits for the disk, and the other thread has
    /// sockets to hear, which would wait with it for what the sockets of others ask for.
    /// </summary>
    void IDeferred.Run()
    {
        if (TryTurns(isOwnThread: false) && !_inbox.IsEmpty)
        {
            WakeOwner();
        }
    }

    private void WakeOwner()
    {
        // A turn under way looks into the inbox once more before it ends.
        if (Interlocked.Exchange(ref _signaled, 1) == 0)
        {
            _wake.Set();
        }
    }

    /// <summary>As <c>OwnAsync</c>, for what nobody waits for.</summary>
    internal void PostOwned(Action work) => Post(new OwnedWork(work));

    private void Fail(Exception cause)
    {
        _ended.TrySetResult(cause);
        _stopping = true;
        _wake.Set();
    }

    private void Run()
    {
        while (!_stopping)
        {
            Interlocked.Exchange(ref _signaled, 0);
            LookAtClock();
            TryTurns(isOwnThread: true);
            MaintainBetweenTurns();
        }

        // Others take no turn once it is stopping; one that is under way is waited for, unless it failed and is never given back.
        SpinWait wait = default;
        while (!_abandoned && Interlocked.CompareExchange(ref _turn, 1, 0) != 0)
        {
            wait.SpinOnce();
        }

        _ended.TrySetResult(null);
        RefuseAll(EtcdError.Stopped);
    }

    /// <summary>
    /// Takes turns while there is something to do; a thread with other duties only a few rounds, and while few wait. Only one thread at a time
    /// does; false when another is at it.
    /// </summary>
    private bool TryTurns(bool isOwnThread)
    {
        int rounds = 0;
        bool GoesOn() => !_inbox.IsEmpty && (isOwnThread || (rounds < RoundsForOthers && Volatile.Read(ref _queued) <= FewWaiting));
        do
        {
            if (_inbox.IsEmpty)
            {
                return true;
            }

            if (_stopping || Interlocked.CompareExchange(ref _turn, 1, 0) != 0)
            {
                return false;
            }

            _prompt.BeginTurn();
            try
            {
                do
                {
                    Round();
                    rounds++;
                }
                while (GoesOn() && !_stopping);
            }
            catch (Exception e)
            {
                // Nobody takes a turn after this: what the machine is in the middle of is not known.
                _abandoned = true;
                _prompt.EndTurn();
                Fail(e);
                return false;
            }

            _prompt.EndTurn();
            Interlocked.Exchange(ref _turn, 0);
        }
        while (GoesOn());
        return true;
    }

    /// <summary>Waits for the next turn, and meanwhile frees what was compacted: a millisecond of every two at most, whatever there is to do, and less while that is slow.</summary>
    private void MaintainBetweenTurns()
    {
        while (_replica.IsMaintaining && !_stopping)
        {
            TimeSpan pause = MaintenancePace.RestAfter(_time.GetElapsedTime(0, Volatile.Read(ref _maintainedFor)), Store.IsTidying);
            if (!_isMaintenanceDue && _time.GetElapsedTime(Volatile.Read(ref _maintainedAt)) >= pause)
            {
                _isMaintenanceDue = true;
                Post(new OwnedWork(MaintainStep));
                return;
            }

            if (_wake.WaitOne(pause) || UntilTick() == TimeSpan.Zero)
            {
                return;
            }
        }

        _wake.WaitOne(UntilTick());
    }

    /// <summary>By the owner's thread, which takes the turn next: somebody must, when the time of a tick has come.</summary>
    private void LookAtClock()
    {
        if (UntilTick() == TimeSpan.Zero && Interlocked.Exchange(ref _isLookDue, 1) == 0)
        {
            Interlocked.Increment(ref _queued);
            _inbox.Enqueue(ClockMark.Instance);
        }
    }

    // A little more rather than less: who wakes too early has to wait once more.
    private TimeSpan UntilTick()
    {
        long now = _time.GetTimestamp();
        long next = Volatile.Read(ref _nextTick);
        return now >= next ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Math.Ceiling(_time.GetElapsedTime(now, next).TotalMilliseconds));
    }

    /// <summary>About as much work as <see cref="MaintenancePace"/> gives a step.</summary>
    private void MaintainStep()
    {
        long began = _time.GetTimestamp();
        bool compacting = Store.IsCompacting && Store.Readers == 0;
        long ended;
        int records = 0;
        do
        {
            _replica.Maintain(MaintenanceRecords);
            records += MaintenanceRecords;
            ended = _time.GetTimestamp();
        }
        while (_replica.IsMaintaining && records < MaintenanceStepMax && _time.GetElapsedTime(began, ended) < MaintenancePace.StepTime);
        if (compacting)
        {
            Times.Compactions.Step(began, ended: !Store.IsCompacting);
        }

        Volatile.Write(ref _maintainedFor, ended - began);
        Volatile.Write(ref _maintainedAt, ended);
        _isMaintenanceDue = false;
    }

    private void Round()
    {
        _replica.SetTime(NowMilliseconds);
        List<IOutcome<EtcdError?>>? readers = null;

        // What comes meanwhile is for the next round: those who are here are not to wait for all who come after them.
        for (int left = Math.Max(1, Volatile.Read(ref _queued)); left > 0 && _inbox.TryDequeue(out object? item); left--)
        {
            Interlocked.Decrement(ref _queued);
            Take(item, ref readers);
        }

        if (readers is not null)
        {
            _turns.Read(readers);
        }

        TickWhenDue();
        _turns.Work();
        _prompt.Tell();
    }

    private void Take(object item, ref List<IOutcome<EtcdError?>>? readers)
    {
        switch (item)
        {
            case Proposal proposal:
                _turns.Propose(proposal);
                break;
            case IOutcome<EtcdError?> waiter:
                (readers ??= []).Add(waiter);
                break;
            case Message message:
                StepResult fate = _turns.Step(message);
                if (fate == StepResult.Malformed)
                {
                    Log.MessageRefused(_logger, message.From, fate);
                }

                break;
            case Persisted persisted:
                _turns.Persisted(persisted.Number);
                break;
            case Checkpoint checkpoint:
                _turns.Offer(checkpoint.Message, checkpoint.Head, checkpoint.Store);
                break;
            case Report report:
                report.Tell(_replica.Raft);
                break;
            case OwnedWork work:
                Own(work.Run);
                break;
            case Renewal renewal:
                Renew(renewal);
                break;
            case ClockMark:
                Volatile.Write(ref _isLookDue, 0);
                break;
            default:
                Check.Unreachable($"{item.GetType()} in the inbox");
                break;
        }
    }

    // After all that was heard, and never two: a member that could not hear for a while must not count that time against its leader, or
    // itself, all at once.
    private void TickWhenDue()
    {
        long now = _time.GetTimestamp();
        if (now < _nextTick)
        {
            return;
        }

        LateHeartbeats += now - _nextTick > _tickLength && _replica.Raft.Role == Role.Leader ? 1 : 0;
        Volatile.Write(ref _nextTick, Math.Max(_nextTick + _tickLength, now + (_tickLength / 2)));
        MemberId promoted = _replica.LastPromoted;
        bool compacting = Store.IsCompacting && Store.Readers == 0;
        _turns.Tick(NowMilliseconds);
        if (compacting)
        {
            Times.Compactions.Step(now, ended: !Store.IsCompacting);
        }

        if (_replica.LastPromoted != promoted)
        {
            Promotions++;
            CareLog.Promoting(_logger, _replica.LastPromoted);
        }

        _checkpoints.Consider();
    }

    void IReplicaDuties.Send(IReadOnlyList<Message> messages) => _transport.Send(messages);

    void IReplicaDuties.Write(Ready ready) => _log.Add(ready);

    void IReplicaDuties.Own(Action work) => Own(work);

    void IReplicaDuties.Apply(IReadOnlyList<Entry> entries)
    {
        long began = _time.GetTimestamp();
        long entered = 0;
        Own(() =>
        {
            entered = _time.GetTimestamp();
            _replica.Apply(entries, _turns);
        });
        TimeSpan took = _time.GetElapsedTime(began);
        if (took > _slowApply)
        {
            SlowApplies++;
            Log.SlowApply(_logger, entries.Count, took.TotalSeconds, _time.GetElapsedTime(began, entered).TotalSeconds, _slowApply.TotalSeconds);
        }

        Backups?.Applied(entries);
        _checkpoints.Consider();
    }

    void IReplicaDuties.Installed(CheckpointHead head)
    {
        _checkpoints.Installed(new LogIndex(head.Index));
        Log.CheckpointInstalled(_logger, head.Index);
    }

    void IReplicaDuties.LeaderChanged(SoftState soft)
    {
        Log.LeaderChanged(_logger, $"{_replica.Raft.Id.Value:x}", RoleWord(soft.Role), _replica.Raft.Term, soft.Leader);
        if (!soft.Leader.IsNone)
        {
            LeaderChanges++;
            _ready.TrySetResult();
        }
    }

    private static string RoleWord(Role role) => role switch
    {
        Role.Leader => "leader",
        Role.Candidate => "candidate",
        Role.PreCandidate => "pre-candidate",
        _ => "follower",
    };

    void IReplicaDuties.MembersChanged() => TellMembers();

    /// <summary>Who the others are, when it may have changed; the end of this member when it was removed.</summary>
    private void TellMembers()
    {
        MemberRegistry members = _replica.Applier.Members;
        _transport.Know(_replica.Raft.Id.Value, members.All, members.Removed);
        if (members.All.Count > 0)
        {
            Log.MembersChanged(_logger, string.Join(", ", members.All.Select(static m => $"{m.ID:x}{(m.IsLearner ? " (learner)" : "")} {m.Name}")));
        }

        if (members.Removed.Contains(_replica.Raft.Id.Value))
        {
            throw new MemberRemovedException();
        }
    }

    private void Own(Action work)
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
            (item as Proposal)?.Outcome.Set(new ApplyOutcome(error, null));
            (item as IOutcome<EtcdError?>)?.Set(error);
            (item as Renewal)?.Outcome.Set(LeaseRenewal.Refused(error));
        }

        _turns.RefuseAll(error);
        _prompt.Tell();
    }

    /// <summary>Asks for a round, for what it does when its time has come.</summary>
    private sealed class ClockMark
    {
        public static readonly ClockMark Instance = new();
    }

    private sealed record Renewal(long[] Ids, IOutcome<LeaseRenewal> Outcome);

    private sealed record Persisted(ulong Number);

    private sealed record OwnedWork(Action Run);

    private sealed record Report(Action<RaftNode> Tell);

    private sealed record Checkpoint(InstallSnapshot Message, CheckpointHead Head, MvccStore Store);

    /// <summary>For who goes on in the pool.</summary>
    private sealed class TaskOutcome<T>() : TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously), IOutcome<T>
    {
        public void Set(T outcome) => TrySetResult(outcome);
    }
}

using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc.Auth;
using Kapell.Raft;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Who waits for what; called while the replica applies.</summary>
public interface IReplicaWaiters
{
    /// <summary>Whether the response of a request is wanted here; it then gets an outcome.</summary>
    bool IsWaiting(ulong requestId);

    /// <summary>The command that this data was made of, where it was made here; null when it must be read from the data.</summary>
    Command? Remembered(ulong requestId, ReadOnlyMemory<byte> data) => null;

    void Complete(ulong requestId, ApplyOutcome outcome);
}

/// <summary>How much of the applied log stays in memory, so that a member that was away for a moment gets entries instead of everything.</summary>
public sealed record LogRetention
{
    // etcd: SnapshotCatchUpEntries
    public int Entries { get; init; } = 5000;

    /// <summary>
    /// At most so many while there is no other member: nobody has use for more, and what is forgotten so soon the collector finds among
    /// the young, where it costs least.
    /// </summary>
    public int EntriesAlone { get; init; } = 256;

    public long Bytes { get; init; } = 16 << 20;

    /// <summary>While a follower lacks them: a quarter of the store when that is more, for its checkpoint would be dearer. 0: none.</summary>
    public long BytesForLagging { get; init; } = 64 << 20;

    internal long ForLagging(long storeBytes) => BytesForLagging == 0 ? 0 : Math.Max(BytesForLagging, storeBytes / 4);
}

/// <summary>
/// One member as a deterministic machine: Raft, what it applies, and the clock of the leases. Inputs are ticks with the time,
/// proposals, messages and "written up to"; outputs are the <see cref="Ready"/> of Raft, and outcomes told to the waiters. It has no
/// thread, lock or file: the server is a shell around it, the simulator another. Only <see cref="Apply"/> and <see cref="Tick"/>
/// change the store.
/// </summary>
public sealed class Replica : IDisposable
{
    // etcd: lease/lessor.go leaseRevokeRate 1000 a second, looked at twice a second.
    private const int RevocationsPerTick = 200;
    private const int MaintenancePerTick = 64;

    // etcd: lessor.go maxLeaseCheckpointBatchSize
    private const int LeaseCheckpointsPerTick = 1000;

    // The alarm goes by itself once the content has shrunk by this share of the quota since it was raised and as much is free, or is far
    // below the quota, so that one large request does not make it flap.
    private const double QuotaFreeShare = 0.05;
    private const double QuotaRoomyShare = 0.75;

    // Who makes space by hand ends the alarm by hand next, as etcd wants it: until then it is there to be ended.
    private const long ClearAlarmAfterMilliseconds = 10_000;

    private readonly RaftNode _raft;
    private readonly Applier _applier;
    private readonly long _quotaBytes;
    private readonly List<long> _expired = [];
    private bool _clearingAlarm;
    private long _bytesAtAlarm;
    private long? _roomSince;
    private LogIndex? _beingWritten;
    private long _trimAtEntries;

    // What a compaction leaves is freed from the second tick after it on: until then watchers are given what they were told of just before.
    private long _compactedAtTick;
    private long _freeUpTo;
    private long _trimAtBytes;
    private bool _ledWithoutAlarm;
    private bool _wasLeader;
    private readonly LeadershipProof _proof = new();

    public Replica(RaftNode raft, Applier applier, ulong clusterId, LogPosition applied, long quotaBytes)
    {
        _raft = raft;
        _applier = applier;
        _quotaBytes = quotaBytes;
        ClusterId = clusterId;
        AppliedPosition = applied;
    }

    public ulong ClusterId { get; }

    /// <summary>What stays of the log in memory.</summary>
    public LogRetention Retention { get; init; } = new();

    /// <summary>
    /// How old the proof that this member leads may be when it renews a lease, in milliseconds; as much longer do leases live that were in
    /// force when a member was elected (<see cref="LeaseGraceMilliseconds"/>, which is no less).
    /// </summary>
    public long LeadershipProofMilliseconds { get; init; } = 300;

    /// <summary>
    /// What a new leader adds to the time of each lease, since its predecessor may have renewed some after it was deposed and before it
    /// noticed. etcd: server.go Promote(ElectionTimeout)
    /// </summary>
    public long LeaseGraceMilliseconds { get; init; } = 1000;

    /// <summary>Tell the others how much time is left of leases.</summary>
    public bool LeaseCheckpoints { get; init; }

    /// <summary>Lets learners vote by itself; never unless set.</summary>
    public LearnerPromotion Promotion { get; init; } = new(0, 1);

    /// <summary>The learner that this member, leading, promoted last by itself.</summary>
    public MemberId LastPromoted { get; private set; }

    /// <summary>The last entry that the store has.</summary>
    public LogPosition AppliedPosition { get; private set; }

    public RaftNode Raft => _raft;

    /// <summary>Goes up whenever the members or their addresses may have changed.</summary>
    public ulong MembershipVersion { get; private set; }

    public Applier Applier => _applier;

    /// <summary>What the cluster does by itself it does with all rights.</summary>
    public Caller Self => _applier.Auth.Enabled ? new Caller(AuthTable.Root, _applier.Auth.Revision) : default;

    public ReplyHeader Header => new(ClusterId, _raft.Id.Value, _raft.Term.Value);

    /// <summary>
    /// Tells the time without a tick. Needed before the first work: a member alone leads before its first tick, and would count the
    /// time of its leases from zero.
    /// </summary>
    public void SetTime(long nowMilliseconds) => _applier.NowMilliseconds = nowMilliseconds;

    /// <summary>Raft's time goes on by one, the leases' to <paramref name="nowMilliseconds"/>.</summary>
    public void Tick(long nowMilliseconds)
    {
        _applier.NowMilliseconds = nowMilliseconds;
        _raft.Tick();
        _proof.Ticked(_raft, nowMilliseconds);
        _freeUpTo = _compactedAtTick;
        _compactedAtTick = _applier.Store.CompactRevision;
        Maintain(MaintenancePerTick);
        if (_raft.Role != Role.Leader)
        {
            Promotion.Consider(_raft, _applier.Members);
            return;
        }

        _expired.Clear();
        _applier.Store.Leases.CollectExpired(nowMilliseconds, RevocationsPerTick, _expired);
        foreach (long id in _expired)
        {
            // A refusal is no loss: the lease comes up again after a while.
            ExpiredLeases++;
            _raft.Propose(new Command(0, CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = id }) { Caller = Self }.Encode());
        }

        if (LeaseCheckpoints)
        {
            TellTimeLeftOfLeases(nowMilliseconds);
        }

        ClearAlarmWhenThereIsSpace();
        PromoteWhoKeepsUp();
    }

    /// <summary>Leases whose time was over while this member led.</summary>
    public long ExpiredLeases { get; private set; }

    /// <summary>The store still has to free what a compaction made unreachable.</summary>
    public bool IsMaintaining { get; private set; }

    /// <summary>A step of that, about so many records.</summary>
    public void Maintain(int budget) => IsMaintaining = _applier.Store.Maintain(budget, _freeUpTo);

    /// <summary>Takes the work; follows a change of leadership with the clock of the leases.</summary>
    public Ready TakeReady()
    {
        Ready ready = _raft.TakeReady();
        bool leads = _raft.Role == Role.Leader;
        if (leads != _wasLeader)
        {
            _wasLeader = leads;
            _ledWithoutAlarm = false;
            if (leads)
            {
                _applier.Store.Leases.Promote(_applier.NowMilliseconds, LeaseGraceMilliseconds);
            }
            else
            {
                _applier.Store.Leases.Demote();
            }
        }

        return ready;
    }

    /// <summary>
    /// Starts the time of the lease anew: its TTL, 0 when there is no such lease; null when this member does not lead, or has not carried out
    /// an entry of its own term yet: until then its log may have the end of the lease, which its predecessor has proposed.
    /// </summary>
    /// <param name="proven">
    /// False: it may be that another leads for longer than it makes good, and has let the lease end: the answer may only be given when a
    /// read barrier after this shows that we lead in the same term.
    /// </param>
    public long? RenewLease(long id, out bool proven)
    {
        Check.That(LeadershipProofMilliseconds <= LeaseGraceMilliseconds);
        proven = _proof.Holds(_raft, _applier.NowMilliseconds, LeadershipProofMilliseconds);
        if (_raft.Role != Role.Leader || !_wasLeader || AppliedPosition.Term != _raft.Term)
        {
            return null;
        }

        // etcd: lease.go: a lease that is not there is answered with TTL 0, not with an error.
        long ttl = Math.Max(0, _applier.Store.Leases.Renew(id, _applier.NowMilliseconds));
        if (ttl > 0 && _applier.Store.Leases.IsRemembered(id))
        {
            ForgetTimeLeft(id);
        }

        return ttl;
    }

    /// <summary>Carries out entries that <see cref="Ready.Committed"/> gave, in order.</summary>
    public void Apply(IReadOnlyList<Entry> entries, IReplicaWaiters waiters)
    {
        foreach (Entry entry in entries)
        {
            Check.That(entry.Index == AppliedPosition.Index.Next());
            if (entry.Kind == EntryKind.ConfChange)
            {
                ApplyMembership(entry, waiters);
            }
            else if (!entry.Data.IsEmpty)
            {
                ApplyCommand(entry, waiters);
            }

            AppliedPosition = entry.Position;
        }

        if (entries.Count > 0)
        {
            _raft.Applied(AppliedPosition.Index);
            TrimLog();
        }
    }

    /// <summary>A checkpoint that Raft has accepted (<see cref="Ready.Snapshot"/>) and that is on the disk takes the place of the store.</summary>
    public void Install(CheckpointHead head, Mvcc.MvccStore store)
    {
        Check.That(head.ClusterId == ClusterId);
        Check.That(head.Index > AppliedPosition.Index.Value);
        _applier.ReplaceBy(store, head);
        _applier.Store.Leases.Demote();
        AppliedPosition = new LogPosition(new Term(head.Term), new LogIndex(head.Index));
        MembershipVersion++;
    }

    /// <summary>A checkpoint of now is being written; ends with <see cref="CheckpointTaken"/> or <see cref="CheckpointFailed"/>.</summary>
    public void CheckpointBegun() => _beingWritten = AppliedPosition.Index;

    public void CheckpointFailed() => _beingWritten = null;

    /// <summary>A checkpoint of ours is on the disk.</summary>
    public void CheckpointTaken(SnapshotMetadata checkpoint)
    {
        _beingWritten = null;
        _raft.CheckpointTaken(checkpoint);
    }

    /// <summary>
    /// The entries in memory are there for followers that lag a little, not for this member: they go by number and bytes, whether or not
    /// a checkpoint has them yet, since the log on disk does.
    /// </summary>
    private void TrimLog()
    {
        if (_raft.AppliedEntriesHeld < _trimAtEntries && _raft.AppliedBytesHeld < _trimAtBytes)
        {
            return;
        }

        int entries = _raft.ConfState.IsAlone ? Math.Min(Retention.Entries, Retention.EntriesAlone) : Retention.Entries;
        _raft.Trim(entries, Retention.Bytes, Retention.ForLagging(_applier.Store.LiveBytes), AppliedPosition.Index, _beingWritten);

        // What had to stay this time is not looked through again at the next entry.
        _trimAtEntries = _raft.AppliedEntriesHeld + entries;
        _trimAtBytes = _raft.AppliedBytesHeld + Retention.Bytes;
    }

    public void Dispose() => _applier.Dispose();

    private void ApplyCommand(Entry entry, IReplicaWaiters waiters)
    {
        ulong id = Command.IdOf(entry.Data.Span);
        bool wanted = id != 0 && waiters.IsWaiting(id);
        Command command = (wanted ? waiters.Remembered(id, entry.Data) : null) ?? Command.Decode(entry.Data.Span);
        _applier.EntryIndex = entry.Index.Value;
        ApplyOutcome outcome = _applier.Apply(command, Header, wanted);
        if (command.Kind is CommandKind.MemberAttributes or CommandKind.MemberUpdate)
        {
            MembershipVersion++;
        }

        if (wanted)
        {
            waiters.Complete(id, outcome);
        }
    }

    private void ApplyMembership(Entry entry, IReplicaWaiters waiters)
    {
        if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
        {
            throw new InvalidDataException($"log entry {entry.Index} is no change of membership");
        }

        MembershipContext context = MembershipContext.Decode(change.Context);
        EtcdError? refusal = _applier.Members.Apply(change, context);
        if (refusal is null)
        {
            _raft.ApplyConfChange(change);
        }

        MembershipVersion++;
        if (context.RequestId != 0 && waiters.IsWaiting(context.RequestId))
        {
            waiters.Complete(context.RequestId, new ApplyOutcome(refusal, null));
        }
    }

    /// <summary>A lease was renewed that the others think has less time left.</summary>
    public void ForgetTimeLeft(long lease)
    {
        LeaseCheckpointRequest request = new();
        request.Checkpoints.Add(new LeaseCheckpoint { ID = lease });
        _raft.Propose(new Command(0, CommandKind.LeaseCheckpoint, request).Encode());
    }

    private void TellTimeLeftOfLeases(long now)
    {
        List<(long Id, long Remaining)> left = [];
        _applier.Store.Leases.CollectToRemember(now, LeaseCheckpointsPerTick, left);
        if (left.Count > 0)
        {
            // What is refused is told again in five minutes; until then a new leader gives too much time, never too little.
            LeaseCheckpointRequest request = new();
            request.Checkpoints.AddRange(left.Select(static l => new LeaseCheckpoint { ID = l.Id, RemainingTTL = l.Remaining }));
            _raft.Propose(new Command(0, CommandKind.LeaseCheckpoint, request).Encode());
        }
    }

    private void PromoteWhoKeepsUp()
    {
        MemberId learner = Promotion.Consider(_raft, _applier.Members);
        if (learner.IsNone)
        {
            return;
        }

        ConfChange change = ConfChange.Of(ConfChangeKind.AddVoter, learner, new MembershipContext(0, null).Encode());
        if (_raft.ProposeConfChange(change) == ProposeResult.Accepted)
        {
            LastPromoted = learner;
        }
    }

    // Every member holds the same content, so the leader judges for all of them.
    private void ClearAlarmWhenThereIsSpace()
    {
        if (!_applier.HasAlarm(AlarmType.Nospace))
        {
            (_clearingAlarm, _bytesAtAlarm, _ledWithoutAlarm, _roomSince) = (false, 0, true, null);
            return;
        }

        long live = _applier.Store.LiveBytes;
        _bytesAtAlarm = Math.Max(_bytesAtAlarm, live);

        // An alarm from before this member led says nothing of its quota, which may have been raised since.
        bool shrunk = (!_ledWithoutAlarm || live <= _bytesAtAlarm - (_quotaBytes * QuotaFreeShare)) && live <= _quotaBytes * (1 - QuotaFreeShare);
        if (_clearingAlarm || _quotaBytes <= 0 || !(shrunk || live <= _quotaBytes * QuotaRoomyShare))
        {
            _roomSince = null;
            return;
        }

        _roomSince ??= _applier.NowMilliseconds;
        if (_applier.NowMilliseconds - _roomSince < ClearAlarmAfterMilliseconds)
        {
            return;
        }

        AlarmRequest request = new() { Action = AlarmRequest.Types.AlarmAction.Deactivate, Alarm = AlarmType.Nospace };
        _clearingAlarm = _raft.Propose(new Command(0, CommandKind.Alarm, request).Encode()) == ProposeResult.Accepted;
    }
}

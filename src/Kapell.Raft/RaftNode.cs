using Kapell.Base;

namespace Kapell.Raft;

/// <summary>
/// One member's consensus as a value machine: <see cref="Tick"/>, <see cref="Step"/> and the wishes of the host go in,
/// <see cref="TakeReady"/> gives the work that follows, <see cref="Persisted"/> and <see cref="Applied"/> report it done.
/// No clock, thread, file or socket inside; the same inputs give the same outputs. One caller at a time.
/// </summary>
public sealed class RaftNode
{
    private readonly RaftCore _core;
    private readonly LeaderRole _leader;
    private readonly FollowerRole _follower;
    private readonly Election _election;
    private HardState _lastHardState;
    private SoftState _lastSoftState;
    private ulong _readyNumber;

    public RaftNode(RaftConfig config, RaftStart start)
    {
        _core = new RaftCore(config, start);
        _leader = new LeaderRole(_core);
        _follower = new FollowerRole(_core);
        _election = new Election(_core, _leader.Start);
        _leader.Checkpoint = start.Snapshot.Index == LogIndex.Zero ? null : start.Snapshot;
        _lastHardState = start.HardState;
        _lastSoftState = _core.SoftState;
    }

    public MemberId Id => _core.Id;

    public MemberId Leader => _core.Leader;

    public Role Role => _core.Role;

    public Term Term => _core.Term;

    /// <summary>The configuration as far as the host has applied it.</summary>
    public ConfState ConfState => _core.Members.State;

    public LogIndex Committed => _core.Log.Committed;

    public LogIndex LastIndex => _core.Log.Last.Index;

    /// <summary>The first index still held here; earlier ones are only in checkpoints.</summary>
    public LogIndex FirstIndex => _core.Log.First;

    /// <summary>
    /// First start of a new cluster: the founding members, the same list at each of them, become the first entries of the log, already
    /// committed (as etcd-io/raft does it), so that whoever joins later learns of them from the log.
    /// </summary>
    public void Bootstrap(IReadOnlyList<ConfChange> members)
    {
        Check.That(LastIndex == LogIndex.Zero);
        Check.That(_core.Term == Term.Zero);
        Check.That(members.Count > 0);
        Term first = new(1);
        _core.BecomeFollower(first, MemberId.None);
        Entry[] entries = [.. members.Select((m, i) => new Entry(new LogIndex((ulong)i + 1), first, EntryKind.ConfChange, m.Encode()))];
        _core.AppendToLog(entries);
        _core.Log.CommitTo(LastIndex);
        foreach (ConfChange member in members)
        {
            // In force at once, or nobody could campaign. Applied again from the log, where it changes nothing any more.
            ApplyConfChange(member);
        }
    }

    /// <summary>One unit of the host's time has passed.</summary>
    public void Tick()
    {
        if (_core.Role == Role.Leader)
        {
            _leader.Tick();
            return;
        }

        _core.ElectionElapsed++;
        if (_core.IsPromotable && _core.ElectionElapsed >= _core.ElectionTimeout)
        {
            _core.ElectionElapsed = 0;
            _election.Campaign(CampaignKind.Election);
        }
    }

    /// <summary>Campaign now: a single member need not wait for its timeout.</summary>
    public void Campaign() => _election.Campaign(CampaignKind.Election);

    public ProposeResult Propose(ReadOnlyMemory<byte> data) => Propose(new ProposedEntry(EntryKind.Normal, data));

    /// <summary>One change at a time: refused while an earlier one is not applied (thesis §4.1).</summary>
    public ProposeResult ProposeConfChange(ConfChange change) =>
        Propose(new ProposedEntry(EntryKind.ConfChange, change.Encode()));

    /// <summary>
    /// Asks for an index to read at; the answer comes as <see cref="ReadState"/> with the context, or never (a message or the leader was
    /// lost: the host asks again). False when it is known already that no answer can come.
    /// </summary>
    public bool ReadIndex(ulong context) =>
        _core.Role == Role.Leader ? _leader.Read(_core.Id, context) : _follower.ForwardRead(context);

    /// <summary>
    /// Rounds of heartbeats that the clock of this member began as a leader, in all its terms. A member that led alone counts none.
    /// </summary>
    public ulong HeartbeatRounds => _leader.Reads.Rounds;

    /// <summary>
    /// The newest of these rounds that a majority answered: whoever is elected without this member's knowledge was elected after it
    /// began, for one of those who answered voted later than it answered.
    /// </summary>
    public ulong ConfirmedRound => _leader.Reads.ConfirmedRound;

    /// <summary>Asks that the other member become leader; shows in the soft state. False when no leader is known.</summary>
    public bool TransferLeadership(MemberId successor)
    {
        if (_core.Role != Role.Leader)
        {
            return _follower.ForwardTransfer(successor);
        }

        _leader.Transfer(successor);
        return true;
    }

    /// <summary>The host applies a committed change. Call it for each such entry, in order, before <see cref="Applied"/>.</summary>
    public ConfState ApplyConfChange(ConfChange change)
    {
        string? refusal = ConfChanger.TryApply(_core.Members.State, change, out ConfState next);
        if (refusal is not null)
        {
            Check.Unreachable($"a change of the membership that is committed cannot be applied to {_core.Members.State}: {refusal}");
        }

        _core.Members.SwitchTo(next, _core.Log.Last.Index);
        if (_core.Role == Role.Leader)
        {
            _leader.ConfigurationChanged();
        }

        return next;
    }

    /// <summary>A message came from another member.</summary>
    public StepResult Step(Message message)
    {
        StepResult fate = MessageGate.Judge(_core, message);
        if (fate != StepResult.Taken || !TermGate(message))
        {
            return fate;
        }

        switch (message)
        {
            case VoteRequest m:
                _election.HandleRequest(m);
                break;
            case VoteResponse m:
                _election.HandleResponse(m);
                break;
            case AppendRequest m when _core.Role != Role.Leader:
                _follower.HandleAppend(m);
                break;
            case Heartbeat m when _core.Role != Role.Leader:
                _follower.HandleHeartbeat(m);
                break;
            case InstallSnapshot m when _core.Role != Role.Leader:
                _follower.HandleSnapshot(m);
                break;
            case ReadIndexResponse m:
                _core.ReadStates.Add(new ReadState(m.Context, m.Index));
                break;
            case TimeoutNow when _core.Role == Role.Follower:
                _election.Campaign(CampaignKind.Transfer);
                break;
            default:
                StepLeader(message);
                break;
        }

        return StepResult.Taken;
    }

    /// <summary>The transport could not deliver to this member.</summary>
    public void ReportUnreachable(MemberId member)
    {
        if (_core.Role == Role.Leader && _core.Members.Find(member) is { } progress)
        {
            _leader.Unreachable(progress);
        }
    }

    /// <summary>
    /// The transport's connection to the member broke, which mostly means that its process ended. If it led, do not wait out the whole
    /// election timeout: forget it, so that others get our pre-vote, and campaign within a few ticks. A leader that lives after all wins
    /// nothing lost: its next message is followed again.
    /// </summary>
    public void ReportDisconnected(MemberId member)
    {
        if (_core.Role == Role.Follower && !member.IsNone && _core.Leader == member)
        {
            _core.LeaderLost();
        }
    }

    /// <summary>The sending of a checkpoint ended. Must be called, or the member gets nothing any more.</summary>
    public void ReportSnapshot(MemberId member, bool sent)
    {
        if (_core.Role != Role.Leader || _core.Members.Find(member) is not { State: ProgressState.Snapshot } progress)
        {
            return;
        }

        if (sent)
        {
            progress.SnapshotSent();
        }
        else
        {
            progress.SnapshotFailed();
        }
    }

    /// <summary>A checkpoint is on our disk: what followers that are behind <see cref="FirstIndex"/> will be sent.</summary>
    public void CheckpointTaken(SnapshotMetadata snapshot)
    {
        Check.That(snapshot.Index <= _core.Log.Applied);
        if (_leader.Checkpoint is null || snapshot.Index > _leader.Checkpoint.Index)
        {
            _leader.Checkpoint = snapshot;
        }

        _leader.CheckpointWanted = false;
    }

    /// <summary>A follower needs more than is held here, and no checkpoint is as new as that: the host is to take one.</summary>
    public bool CheckpointWanted => _core.Role == Role.Leader && _leader.CheckpointWanted;

    /// <summary>Applied entries that are still held in memory, and the bytes of their data.</summary>
    public int AppliedEntriesHeld => _core.Log.AppliedCount;

    public long AppliedBytesHeld => _core.Log.AppliedBytes;

    /// <summary>
    /// Frees the memory of applied entries that nobody is likely to need: all but the newest few, by number and bytes, and those that a
    /// follower lacks, as long as they are no more than <paramref name="bytesForLagging"/>. Who needs others gets a checkpoint.
    /// </summary>
    /// <param name="applied">Nothing above it.</param>
    /// <param name="checkpoint">What the checkpoint that is being taken has; for a follower that lacks more, it is of no use without what comes after it.</param>
    public void Trim(int entriesKept, long bytesKept, long bytesForLagging, LogIndex applied, LogIndex? checkpoint)
    {
        LogIndex to = LogIndex.Min(applied, _core.Log.LastBeyond(entriesKept, bytesKept));
        if (_core.Role == Role.Leader && _leader.MatchedByAll is { } matched && matched < to)
        {
            LogIndex spared = LogIndex.Max(matched, _core.Log.LastBeyond(int.MaxValue, bytesForLagging));
            to = LogIndex.Min(to, LogIndex.Min(spared, checkpoint ?? to));
        }

        _core.Log.Compact(to);
    }

    /// <summary>Frees the memory of entries up to the index, which must be applied.</summary>
    public void Compact(LogIndex index) => _core.Log.Compact(index);

    public bool HasReady =>
        _leader.HasAppendsDue
        || _core.Log.HasUnwritten
        || _core.Messages.Count > 0
        || _core.MessagesAfterPersist.Count > 0
        || HasCommittedToApply
        || _core.ReadStates.Count > 0
        || _core.SnapshotPending is not null
        || _core.HardState != _lastHardState
        || _core.SoftState != _lastSoftState;

    /// <summary>The work that has come up since the last time. Take it only when it can be done; several may be under way.</summary>
    public Ready TakeReady()
    {
        _leader.SendDueAppends();
        HardState hard = _core.HardState;
        SoftState soft = _core.SoftState;
        bool hardChanged = hard != _lastHardState;
        bool promise = hard.Term != _lastHardState.Term || hard.Vote != _lastHardState.Vote;
        IReadOnlyList<Entry> entries =
            _core.Log.Slice(_core.Log.HandedOut.Next(), _core.Log.Last.Index, int.MaxValue, long.MaxValue);
        IReadOnlyList<Entry> committed = HasCommittedToApply
            ? _core.Log.Slice(_core.Log.Applying.Next(), _core.Log.Appliable, int.MaxValue, _core.Config.CommittedBytesPerReadyMax)
            : [];
        Ready ready = new()
        {
            Number = ++_readyNumber,
            SoftState = soft != _lastSoftState ? soft : null,
            HardState = hardChanged ? hard : null,
            Snapshot = _core.SnapshotPending,
            Entries = entries,
            Committed = committed,
            Messages = [.. _core.Messages],
            MessagesAfterPersist = [.. _core.MessagesAfterPersist],
            ReadStates = [.. _core.ReadStates],
            MustSync = promise || entries.Count > 0 || _core.SnapshotPending is not null,
        };
        Accept(ready, hard, soft);
        return ready;
    }

    /// <summary>This <see cref="Ready"/> and all before it are written (and flushed where they had to be).</summary>
    public void Persisted(ulong readyNumber)
    {
        Check.That(readyNumber <= _readyNumber);
        Term? ownVote = null;
        while (_core.Writes.TryPeek(out InflightWrite? write) && write.Number <= readyNumber)
        {
            _core.Writes.Dequeue();
            if (write.Snapshot is { } snapshot)
            {
                _core.Log.SnapshotPersisted(snapshot.Index);

                // It lies on our disk, and the log before it is gone: should we lead, it is what a member that is behind gets.
                _leader.Checkpoint = snapshot;
                _core.SnapshotInProgress = false;
            }

            _core.Log.DurableTo(write.Last);
            ownVote = write.OwnVote ?? ownVote;
        }

        if (ownVote is { } term)
        {
            _election.OwnVotePersisted(term);
        }

        if (_core.Role == Role.Leader)
        {
            _leader.OwnLogPersisted();
        }
    }

    /// <summary>The host's state has everything up to the index.</summary>
    public void Applied(LogIndex index)
    {
        if (index <= _core.Log.Applied)
        {
            return;
        }

        _core.Log.AppliedTo(index);
        if (_core.Role == Role.Leader)
        {
            _leader.Applied();
        }
    }

    public RaftStatus Status() => new()
    {
        Id = _core.Id,
        SoftState = _core.SoftState,
        HardState = _core.HardState,
        ConfState = _core.Members.State,
        Applied = _core.Log.Applied,
        Durable = _core.Log.Durable,
        Last = _core.Log.Last,
        First = _core.Log.First,
        Successor = _core.Role == Role.Leader ? _leader.Successor : MemberId.None,
        Members = _core.Role != Role.Leader ? [] : [.. _core.Members.All.Select(static m =>
            new MemberProgress(m.Key, m.Value.State, m.Value.Match, m.Value.Next, m.Value.RecentActive, m.Value.IsLearner))],
    };

    private bool HasCommittedToApply =>
        _core.SnapshotPending is null && !_core.SnapshotInProgress && _core.Log.Applying < _core.Log.Appliable;

    private ProposeResult Propose(ProposedEntry entry) =>
        _core.Role == Role.Leader ? _leader.Propose([entry]) : _follower.Forward(entry);

    /// <summary>Follows newer terms and turns away older ones (Raft §5.1); false when the message is done with.</summary>
    private bool TermGate(Message message)
    {
        if (message.Term == Term.Zero || message.Term == _core.Term)
        {
            return true;
        }

        if (message.Term < _core.Term)
        {
            MessageGate.AnswerOlderTerm(_core, message);
            return false;
        }

        if (message is VoteRequest request)
        {
            bool leased = _core.Config.CheckQuorum && !_core.Leader.IsNone && _core.ElectionElapsed < _core.Config.ElectionTicks;
            if (leased && !request.ByTransfer)
            {
                // We hear a leader: no vote, and no newer term (Raft §6, end).
                return false;
            }
        }

        // A pre-vote, asked or granted, speaks of a term that nobody is in yet.
        if (message is not (VoteRequest { PreVote: true } or VoteResponse { PreVote: true, Granted: true }))
        {
            bool fromLeader = message is AppendRequest or Heartbeat or InstallSnapshot;
            _core.BecomeFollower(message.Term, fromLeader ? message.From : MemberId.None);
        }

        return true;
    }

    private void StepLeader(Message message)
    {
        if (_core.Role != Role.Leader)
        {
            // Late, or sent to a former leader: its sender has a deadline.
            return;
        }

        switch (message)
        {
            case ForwardedProposal m:
                // What is refused is lost, as if the network had lost it.
                _leader.Propose(m.Entries);
                break;
            case ReadIndexRequest m:
                _leader.Read(m.From, m.Context);
                break;
            case TransferRequest m:
                _leader.Transfer(m.Successor);
                break;
            case AppendResponse m when _core.Members.Find(m.From) is { } progress:
                _leader.HandleAppendResponse(m, progress);
                break;
            case HeartbeatResponse m when _core.Members.Find(m.From) is { } progress:
                _leader.HandleHeartbeatResponse(m, progress);
                break;
        }
    }

    private void Accept(Ready ready, HardState hard, SoftState soft)
    {
        if (ready.NeedsPersist)
        {
            _core.Writes.Enqueue(new InflightWrite(ready.Number)
            {
                Last = _core.Log.Last.Index,
                OwnVote = _core.OwnVotePending,
                Snapshot = ready.Snapshot,
            });
            _core.OwnVotePending = null;
        }

        Check.That(_core.OwnVotePending is null);
        _core.SnapshotInProgress |= ready.Snapshot is not null;
        _core.SnapshotPending = null;
        _core.Messages.Clear();
        _core.MessagesAfterPersist.Clear();
        _core.ReadStates.Clear();
        _core.Log.AcceptUnwritten();
        if (ready.Committed.Count > 0)
        {
            _core.Log.AcceptApplying(ready.Committed[^1].Index);
        }

        _lastHardState = hard;
        _lastSoftState = soft;
    }
}

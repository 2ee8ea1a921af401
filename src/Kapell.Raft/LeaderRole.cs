using Kapell.Base;

namespace Kapell.Raft;

/// <summary>What a leader does: takes proposals, replicates, commits, hands over (Raft §5.3, §5.4.2; thesis §3.10).</summary>
internal sealed class LeaderRole(RaftCore core)
{
    private readonly LeaderReads _reads = new(core);
    private LogIndex _pendingConf;
    private long _uncommittedBytes;
    private MemberId _successor;

    public MemberId Successor => _successor;

    public void Start()
    {
        // Anything before this may hold a change of the membership: propose none until it is applied.
        _pendingConf = core.Log.Last.Index;
        _uncommittedBytes = 0;
        _successor = MemberId.None;
        _reads.Clear();
        // An entry of our own term, or nothing of earlier terms could be committed (Raft §5.4.2, §8).
        bool appended = Append([new ProposedEntry(EntryKind.Normal, default)]);
        Check.That(appended);
        BroadcastAppend();
    }

    public void Tick()
    {
        core.HeartbeatElapsed++;
        core.ElectionElapsed++;
        if (core.ElectionElapsed >= core.Config.ElectionTicks)
        {
            core.ElectionElapsed = 0;
            if (core.Config.CheckQuorum)
            {
                CheckQuorum();
            }

            // A successor that did not take over within an election timeout is not going to (thesis §3.10).
            _successor = MemberId.None;
        }

        if (core.Role == Role.Leader && core.HeartbeatElapsed >= core.Config.HeartbeatTicks)
        {
            core.HeartbeatElapsed = 0;
            _reads.BeginRound();
        }
    }

    /// <summary>There is something to tell the followers.</summary>
    public bool HasAppendsDue { get; private set; }

    /// <summary>Tells each follower what it lacks: entries, or that more is committed than it knows.</summary>
    public void SendDueAppends()
    {
        if (!HasAppendsDue)
        {
            return;
        }

        HasAppendsDue = false;
        if (core.Role == Role.Leader)
        {
            ForOthers((id, progress) => TrySendAppend(id, progress, evenEmpty: progress.CanBumpCommit(core.Log.Committed)));
        }
    }

    public ProposeResult Propose(IReadOnlyList<ProposedEntry> entries)
    {
        if (!core.IsSelfMember)
        {
            return ProposeResult.NotMember;
        }

        if (!_successor.IsNone)
        {
            return ProposeResult.TransferInProgress;
        }

        foreach (ProposedEntry entry in entries)
        {
            if (entry.Kind == EntryKind.ConfChange && (entries.Count > 1 || RefuseConfChange(entry) is not null))
            {
                return RefuseConfChange(entry) ?? ProposeResult.ConfChangeInvalid;
            }
        }

        LogIndex place = core.Log.Last.Index.Next();
        if (!Append(entries))
        {
            return ProposeResult.TooManyUncommitted;
        }

        if (entries[0].Kind == EntryKind.ConfChange)
        {
            _pendingConf = place;
        }

        BroadcastAppend();
        return ProposeResult.Accepted;
    }

    public LeaderReads Reads => _reads;

    public bool Read(MemberId from, ulong context) => _reads.Request(from, context);

    public void HandleAppendResponse(AppendResponse response, Progress progress)
    {
        progress.RecentActive = true;
        if (!response.Accepted)
        {
            HandleRejection(response, progress);
            return;
        }

        if (response.Index > core.Log.Last.Index)
        {
            // No such entry was ever sent.
            return;
        }

        bool news = progress.TryUpdate(response.Index);
        if (!news && !(progress.State == ProgressState.Probe && progress.Match == response.Index))
        {
            return;
        }

        switch (progress.State)
        {
            case ProgressState.Probe:
                progress.BecomeReplicate();
                break;
            case ProgressState.Snapshot when progress.Match.Next() >= core.Log.First:
                progress.BecomeReplicate();
                break;
            case ProgressState.Replicate:
                progress.FreeInflightTo(response.Index);
                break;
        }

        if (TryCommit() || progress.CanBumpCommit(core.Log.Committed))
        {
            BroadcastAppend();
        }

        while (TrySendAppend(response.From, progress, evenEmpty: false))
        {
            // An answer may have freed several places.
        }

        HandOverIfReady(response.From, progress);
    }

    public void HandleHeartbeatResponse(HeartbeatResponse response, Progress progress)
    {
        progress.RecentActive = true;
        progress.Resume();
        if (progress.Match < core.Log.Last.Index || progress.State == ProgressState.Probe)
        {
            TrySendAppend(response.From, progress, evenEmpty: true);
        }

        _reads.Acknowledge(response.From, response.ReadPosition);
    }

    public void Unreachable(Progress progress)
    {
        // Messages on their way are probably lost: do not pile up more.
        if (progress.State == ProgressState.Replicate)
        {
            progress.BecomeProbe();
        }
    }

    public void Transfer(MemberId successor)
    {
        Progress? progress = core.Members.Find(successor);
        if (successor == core.Id || progress is null || progress.IsLearner || _successor == successor)
        {
            return;
        }

        // One election timeout for the whole of it.
        core.ElectionElapsed = 0;
        _successor = successor;
        if (!HandOverIfReady(successor, progress))
        {
            TrySendAppend(successor, progress, evenEmpty: true);
        }
    }

    /// <summary>Our own disk has more of the log: it counts like any follower's.</summary>
    public void OwnLogPersisted()
    {
        if (core.Members.Find(core.Id) is { } self && self.TryUpdate(core.Log.Durable) && TryCommit())
        {
            BroadcastAppend();
        }
    }

    public void Applied()
    {
        if (core.Members.State.AutoLeave && core.Log.Applied >= _pendingConf && _successor.IsNone)
        {
            LogIndex place = core.Log.Last.Index.Next();
            if (Append([new ProposedEntry(EntryKind.ConfChange, ConfChange.LeaveJoint.Encode())]))
            {
                _pendingConf = place;
                BroadcastAppend();
            }
        }
    }

    public void ConfigurationChanged()
    {
        if (core.Members.Find(core.Id) is null or { IsLearner: true })
        {
            // Removed or demoted (thesis §4.2.2).
            core.BecomeFollower(core.Term, MemberId.None);
            return;
        }

        if (TryCommit())
        {
            BroadcastAppend();
        }
        else
        {
            ForOthers((id, progress) => TrySendAppend(id, progress, evenEmpty: false));
        }

        if (!core.Members.State.IsVoter(_successor))
        {
            _successor = MemberId.None;
        }
    }

    private ProposeResult? RefuseConfChange(ProposedEntry entry)
    {
        if (_pendingConf > core.Log.Applied)
        {
            return ProposeResult.ConfChangePending;
        }

        bool valid = ConfChange.TryDecode(entry.Data, out ConfChange change)
            && ConfChanger.TryApply(core.Members.State, change, out _) is null;
        return valid ? null : ProposeResult.ConfChangeInvalid;
    }

    private bool Append(IReadOnlyList<ProposedEntry> proposed)
    {
        long bytes = 0;
        for (int i = 0; i < proposed.Count; i++)
        {
            bytes += proposed[i].Data.Length;
        }

        // One proposal of any size goes when nothing waits, and empty ones always.
        if (_uncommittedBytes > 0 && bytes > 0 && _uncommittedBytes + bytes > core.Config.UncommittedBytesMax)
        {
            return false;
        }

        LogIndex next = core.Log.Last.Index.Next();
        Entry[] entries = new Entry[proposed.Count];
        for (int i = 0; i < entries.Length; i++)
        {
            entries[i] = new Entry(next + (ulong)i, core.Term, proposed[i].Kind, proposed[i].Data);
        }

        _uncommittedBytes += bytes;
        core.AppendToLog(entries);
        return true;
    }

    private bool TryCommit()
    {
        LogIndex before = core.Log.Committed;
        LogIndex index = core.Members.Committed();
        // Only entries of our own term are committed by counting (Raft §5.4.2).
        if (index <= before || core.Log.TermAt(index) != core.Term)
        {
            return false;
        }

        core.Log.CommitTo(index);
        for (LogIndex i = before.Next(); i <= index; i = i.Next())
        {
            // Entries of earlier terms were not counted, so this may reach zero early.
            _uncommittedBytes = Math.Max(0, _uncommittedBytes - core.Log[i].Data.Length);
        }

        _reads.Committed();
        return true;
    }

    private void HandleRejection(AppendResponse response, Progress progress)
    {
        LogIndex next = response.Hint.Index;
        if (response.Hint.Term > Term.Zero)
        {
            // Skip all our entries of terms above the follower's at that place: they cannot agree.
            next = core.Log.FindConflictByTerm(response.Hint.Index, response.Hint.Term).Index;
        }

        if (progress.TryDecrease(response.Index, next))
        {
            if (progress.State == ProgressState.Replicate)
            {
                progress.BecomeProbe();
            }

            TrySendAppend(response.From, progress, evenEmpty: true);
        }
    }

    /// <summary>
    /// With the next <see cref="Ready"/>, not at once: all proposals and commits until then go to a follower in one message.
    /// </summary>
    private void BroadcastAppend() => HasAppendsDue = true;

    private bool TrySendAppend(MemberId to, Progress progress, bool evenEmpty)
    {
        if (progress.IsPaused)
        {
            return false;
        }

        LogIndex previous = progress.Next.Previous();
        if (core.Log.TermAt(previous) is not { } term)
        {
            return TrySendSnapshot(to, progress);
        }

        // With all places taken only empty messages go: if all that is on its way was lost, one of them is answered.
        bool full = progress.State == ProgressState.Replicate && progress.InflightFull;
        IReadOnlyList<Entry> entries = full ? [] : core.Log.Slice(
            progress.Next, core.Log.Last.Index, core.Config.EntriesPerMessageMax, core.Config.BytesPerMessageMax);
        if (entries.Count == 0 && !evenEmpty)
        {
            return false;
        }

        core.Send(new AppendRequest(core.Id, to, core.Term, new LogPosition(term, previous), core.Log.Committed, entries));
        progress.Sent(entries.Count, BytesOf(entries), core.Log.Committed);
        return true;
    }

    private static long BytesOf(IReadOnlyList<Entry> entries)
    {
        long bytes = 0;
        for (int i = 0; i < entries.Count; i++)
        {
            bytes += entries[i].Data.Length;
        }

        return bytes;
    }

    private bool TrySendSnapshot(MemberId to, Progress progress)
    {
        SnapshotMetadata? snapshot = Checkpoint;
        // A silent member would only make us hold a checkpoint for it; and without a checkpoint we wait for one.
        if (!progress.RecentActive)
        {
            return false;
        }

        if (snapshot is null || snapshot.Index < core.Log.Snapshot.Index)
        {
            CheckpointWanted = true;
            return false;
        }

        progress.BecomeSnapshot(snapshot.Index);
        core.Send(new InstallSnapshot(core.Id, to, core.Term, snapshot));
        return true;
    }

    /// <summary>The newest checkpoint the host has on its disk.</summary>
    public SnapshotMetadata? Checkpoint { get; set; }

    public bool CheckpointWanted { get; set; }

    /// <summary>What every other member is known to have, or will have with the checkpoint on its way; null when there is no other.</summary>
    public LogIndex? MatchedByAll
    {
        get
        {
            LogIndex? least = null;
            foreach ((MemberId id, Progress progress) in core.Members.All)
            {
                LogIndex matched = LogIndex.Max(progress.Match, progress.PendingSnapshot);
                if (id != core.Id && (least is null || matched < least))
                {
                    least = matched;
                }
            }

            return least;
        }
    }

    private bool HandOverIfReady(MemberId id, Progress progress)
    {
        if (id != _successor || progress.Match != core.Log.Last.Index)
        {
            return false;
        }

        core.Send(new TimeoutNow(core.Id, id, core.Term));
        return true;
    }

    private void CheckQuorum()
    {
        if (!core.Members.QuorumActive())
        {
            core.BecomeFollower(core.Term, MemberId.None);
        }

        ForOthers(static (_, progress) => progress.RecentActive = false);
    }

    private void ForOthers(Action<MemberId, Progress> action)
    {
        foreach ((MemberId id, Progress progress) in core.Members.All)
        {
            if (id != core.Id)
            {
                action(id, progress);
            }
        }
    }
}

using Kapell.Base;

namespace Kapell.Raft;

/// <summary>The state all roles share (Raft figure 2), the transitions between roles, and the outbox.</summary>
internal sealed class RaftCore
{
    public RaftCore(RaftConfig config, RaftStart start)
    {
        config.Validate();
        Config = config;
        Log = new RaftLog(start.Snapshot.Position, start.Entries, config.LooseEntriesMin);
        Members = new Membership(config.Id, config.InflightMax, config.InflightBytesMax);
        Members.SwitchTo(start.Snapshot.ConfState, Log.Last.Index);
        Term = start.HardState.Term;
        Vote = start.HardState.Vote;
        if (Log.Last.Term > Term)
        {
            // A torn write: the entries of a new term reached the disk, its hard state did not. We have not voted in it.
            Term = Log.Last.Term;
            Vote = MemberId.None;
        }

        if (start.HardState.Commit > Log.Committed)
        {
            Log.CommitTo(start.HardState.Commit);
        }

        BecomeFollower(Term, MemberId.None);
    }

    public RaftConfig Config { get; }

    public MemberId Id => Config.Id;

    public RaftLog Log { get; }

    public Membership Members { get; }

    public Term Term { get; private set; }

    public MemberId Vote { get; private set; }

    public MemberId Leader { get; private set; }

    public Role Role { get; private set; }

    /// <summary>Ticks since the last sign of a leader, or since the last look of check-quorum when we lead.</summary>
    public int ElectionElapsed { get; set; }

    public int HeartbeatElapsed { get; set; }

    /// <summary>Drawn anew for each term, in [ElectionTicks, 2 * ElectionTicks).</summary>
    public int ElectionTimeout { get; private set; }

    public List<Message> Messages { get; } = [];

    public List<Message> MessagesAfterPersist { get; } = [];

    public List<ReadState> ReadStates { get; } = [];

    /// <summary>Our own vote in this term counts when the hard state of the next <see cref="Ready"/> is on disk.</summary>
    public Term? OwnVotePending { get; set; }

    /// <summary>A checkpoint from the leader that the host has not got yet.</summary>
    public SnapshotMetadata? SnapshotPending { get; set; }

    /// <summary>The host is putting a checkpoint of the leader in place.</summary>
    public bool SnapshotInProgress { get; set; }

    /// <summary>Writes given to the host, in order.</summary>
    public Queue<InflightWrite> Writes { get; } = new();

    public HardState HardState => new(Term, Vote, Log.Committed);

    public SoftState SoftState => new(Leader, Role);

    public bool IsSelfMember => Members.Find(Id) is not null;

    /// <summary>A voter whose state is whole may campaign.</summary>
    public bool IsPromotable =>
        Members.Find(Id) is { IsLearner: false } && SnapshotPending is null && !SnapshotInProgress;

    /// <summary>For what promises nothing durable.</summary>
    public void Send(Message message)
    {
        Check.That(message.To != Id);
        Messages.Add(message);
    }

    /// <summary>For votes, requests for votes and acknowledged entries: the disk must know first (thesis §3.8).</summary>
    public void SendAfterPersist(Message message)
    {
        Check.That(message.To != Id);
        if (message is AppendResponse { Accepted: true } next && MessagesAfterPersist.Count > 0
            && MessagesAfterPersist[^1] is AppendResponse { Accepted: true } last && last.To == next.To && last.Term == next.Term)
        {
            // What agrees up to an index agrees up to every earlier one: the leader needs only the highest.
            MessagesAfterPersist[^1] = next.Index >= last.Index ? next : last;
            return;
        }

        MessagesAfterPersist.Add(message);
    }

    public void BecomeFollower(Term term, MemberId leader)
    {
        Reset(term);
        Leader = leader;
        Role = Role.Follower;
    }

    /// <summary>Asks around without touching term or vote (thesis §9.6).</summary>
    public void BecomePreCandidate()
    {
        Check.That(Role != Role.Leader);
        Members.ResetVotes();
        Leader = MemberId.None;
        Role = Role.PreCandidate;
    }

    public void BecomeCandidate()
    {
        Check.That(Role != Role.Leader);
        Reset(Term.Next());
        Vote = Id;
        Role = Role.Candidate;
    }

    public void BecomeLeader()
    {
        Check.That(Role == Role.Candidate);
        Reset(Term);
        Leader = Id;
        Role = Role.Leader;
        Progress self = Members.Find(Id)!; // A candidate is a voter.
        self.BecomeReplicate();
        self.RecentActive = true;
    }

    public void GrantVote(MemberId candidate)
    {
        Check.That(Vote.IsNone || Vote == candidate);
        Vote = candidate;
        ElectionElapsed = 0;
    }

    /// <summary>No leader until one speaks; the next campaign is one to a few ticks away, drawn so that followers do not start together.</summary>
    public void LeaderLost()
    {
        Leader = MemberId.None;
        CampaignSoon(Config.ElectionTicks / 3);
    }

    /// <summary>One to so many ticks from now, unless it would be sooner anyway.</summary>
    public void CampaignSoon(int ticksMax)
    {
        int soon = 1 + Config.Prng.NextInt(0, Math.Max(1, ticksMax));
        ElectionElapsed = Math.Max(ElectionElapsed, ElectionTimeout - soon);
    }

    /// <summary>Puts entries into the log and corrects what the writes under way will have achieved.</summary>
    public void AppendToLog(IReadOnlyList<Entry> entries)
    {
        if (entries.Count == 0)
        {
            return;
        }

        LogIndex kept = entries[0].Index.Previous();
        if (entries[0].Index <= Log.Last.Index)
        {
            // A write under way carries entries that are void now: it vouches only for those before them.
            foreach (InflightWrite write in Writes)
            {
                write.Last = LogIndex.Min(write.Last, kept);
            }
        }

        Log.Append(entries);
    }

    private void Reset(Term term)
    {
        Check.That(term >= Term);
        if (term != Term)
        {
            Term = term;
            Vote = MemberId.None;
        }

        Leader = MemberId.None;
        ElectionElapsed = 0;
        HeartbeatElapsed = 0;
        ElectionTimeout = Config.ElectionTicks + Config.Prng.NextInt(0, Config.ElectionTicks);
        OwnVotePending = null;
        Members.ResetVotes();
        Members.ResetProgress(Log.Last.Index, Log.Durable);
    }
}

/// <summary>What will hold when the host reports one <see cref="Ready"/> as written.</summary>
internal sealed class InflightWrite(ulong number)
{
    public ulong Number { get; } = number;

    /// <summary>The log is durable up to here.</summary>
    public LogIndex Last { get; set; }

    public Term? OwnVote { get; init; }

    public SnapshotMetadata? Snapshot { get; init; }
}

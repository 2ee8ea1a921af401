namespace Kapell.Raft;

/// <summary>
/// What members say to one another. A closed family: each kind has the fields it needs and no others.
/// <see cref="ForwardedProposal"/> and <see cref="ReadIndexRequest"/> go with term zero: they belong to no term.
/// </summary>
public abstract record Message(MemberId From, MemberId To, Term Term)
{
    /// <summary>Answers are dropped when they come from one who is not a member (any more).</summary>
    public virtual bool IsResponse => false;
}

/// <summary>Asks for a vote in <see cref="Message.Term"/> (Raft §5.2), or whether one would be given (thesis §9.6, pre-vote).</summary>
/// <param name="ByTransfer">The leader itself asked for this election, so its lease does not stand in the way (thesis §3.10).</param>
public sealed record VoteRequest(MemberId From, MemberId To, Term Term, LogPosition Last, bool PreVote, bool ByTransfer)
    : Message(From, To, Term);

public sealed record VoteResponse(MemberId From, MemberId To, Term Term, bool PreVote, bool Granted) : Message(From, To, Term)
{
    public override bool IsResponse => true;
}

/// <summary>Entries that follow <paramref name="Previous"/> (Raft §5.3).</summary>
public sealed record AppendRequest(
    MemberId From, MemberId To, Term Term, LogPosition Previous, LogIndex Commit, IReadOnlyList<Entry> Entries)
    : Message(From, To, Term);

/// <summary>
/// Accepted: the log of the sender equals the leader's up to <paramref name="Index"/>. Rejected: it has no such entry at
/// <paramref name="Index"/>, and <paramref name="Hint"/> is the highest position where the two may agree (Raft §5.3, end).
/// </summary>
public sealed record AppendResponse(MemberId From, MemberId To, Term Term, bool Accepted, LogIndex Index, LogPosition Hint)
    : Message(From, To, Term)
{
    public override bool IsResponse => true;
}

/// <param name="ReadPosition">The newest read that an answer to this heartbeat confirms; 0 for none (thesis §6.4).</param>
public sealed record Heartbeat(MemberId From, MemberId To, Term Term, LogIndex Commit, ulong ReadPosition) : Message(From, To, Term);

public sealed record HeartbeatResponse(MemberId From, MemberId To, Term Term, ulong ReadPosition) : Message(From, To, Term)
{
    public override bool IsResponse => true;
}

/// <summary>
/// The follower is so far behind that it needs a checkpoint. The host streams the checkpoint named here (or a newer one, with its own
/// metadata in place of this) and steps this message at the receiver only when the whole of it lies there, verified.
/// </summary>
public sealed record InstallSnapshot(MemberId From, MemberId To, Term Term, SnapshotMetadata Snapshot) : Message(From, To, Term);

/// <summary>A follower asks the leader from which index on a read is linearizable (thesis §6.4).</summary>
public sealed record ReadIndexRequest(MemberId From, MemberId To, ulong Context) : Message(From, To, Term.Zero);

public sealed record ReadIndexResponse(MemberId From, MemberId To, Term Term, ulong Context, LogIndex Index) : Message(From, To, Term)
{
    public override bool IsResponse => true;
}

/// <summary>The leader hands over: campaign at once (thesis §3.10).</summary>
public sealed record TimeoutNow(MemberId From, MemberId To, Term Term) : Message(From, To, Term);

/// <summary>A follower passes proposals of its clients to the leader. It may get lost: the client's deadline decides.</summary>
public sealed record ForwardedProposal(MemberId From, MemberId To, IReadOnlyList<ProposedEntry> Entries) : Message(From, To, Term.Zero);

/// <summary>A follower passes a wish to hand over leadership to the leader.</summary>
public sealed record TransferRequest(MemberId From, MemberId To, MemberId Successor) : Message(From, To, Term.Zero);

namespace Kapell.Raft;

public enum Role : byte
{
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// <summary>What must be on disk before anything that follows from it is said (Raft figure 2, persistent state).</summary>
public readonly record struct HardState(Term Term, MemberId Vote, LogIndex Commit);

/// <summary>What only this process knows, for logs, metrics and routing.</summary>
public readonly record struct SoftState(MemberId Leader, Role Role);

/// <summary>A read with this context is linearizable once the host has applied up to the index.</summary>
public readonly record struct ReadState(ulong Context, LogIndex Index);

/// <summary>What a checkpoint stands for: all entries up to the position, and the membership after them.</summary>
public sealed record SnapshotMetadata(LogPosition Position, ConfState ConfState)
{
    public LogIndex Index => Position.Index;
}

/// <summary>What the host found on its disk.</summary>
public sealed record RaftStart
{
    public HardState HardState { get; init; }

    /// <summary>The newest checkpoint; index zero and no members when there is none.</summary>
    public SnapshotMetadata Snapshot { get; init; } = new(default, ConfState.Empty);

    /// <summary>The log after the checkpoint, without gaps.</summary>
    public IReadOnlyList<Entry> Entries { get; init; } = [];
}

/// <summary>What became of a proposal. Everything but <see cref="Accepted"/> means: it is in no log and will not be.</summary>
public enum ProposeResult
{
    /// <summary>In the log, or on its way to the leader. It may still be lost with a leader: its fate shows in the applied entries.</summary>
    Accepted,
    NoLeader,
    TransferInProgress,

    /// <summary>Too many bytes wait for their commit; try later.</summary>
    TooManyUncommitted,
    NotMember,

    /// <summary>An earlier change of the membership is not applied yet.</summary>
    ConfChangePending,

    /// <summary>The change makes no valid configuration.</summary>
    ConfChangeInvalid,
}

/// <summary>What became of a message.</summary>
public enum StepResult
{
    Taken,

    /// <summary>An answer or a wish of one who is no member.</summary>
    NotMember,

    /// <summary>The message cannot have been made by a member of this protocol.</summary>
    Malformed,
}

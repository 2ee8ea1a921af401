namespace Kapell.Raft;

/// <summary>
/// Work for the host. It may hold several at a time, but deals with them in the order of <see cref="Number"/>:
/// <list type="number">
/// <item>send <see cref="Messages"/> at once;</item>
/// <item>write <see cref="Snapshot"/>, then <see cref="Entries"/>, then <see cref="HardState"/> (in this order, so that a torn
/// write never leaves a commit index beyond the log), flush if <see cref="MustSync"/>;</item>
/// <item>call <see cref="RaftNode.Persisted"/> with the number, and send <see cref="MessagesAfterPersist"/>;</item>
/// <item>apply <see cref="Committed"/> and call <see cref="RaftNode.Applied"/>; independent of the writing, for these are durable.</item>
/// </list>
/// With a snapshot, <see cref="RaftNode.Persisted"/> also says that the state machine has been replaced by it.
/// </summary>
public sealed record Ready
{
    public required ulong Number { get; init; }

    /// <summary>The leader or our role, if changed.</summary>
    public SoftState? SoftState { get; init; }

    /// <summary>Term, vote or commit index, if changed.</summary>
    public HardState? HardState { get; init; }

    /// <summary>A checkpoint that came from the leader and replaces everything.</summary>
    public SnapshotMetadata? Snapshot { get; init; }

    /// <summary>To append to the log on disk. The first index may be one written before: what stood there and after it is void.</summary>
    public IReadOnlyList<Entry> Entries { get; init; } = [];

    /// <summary>Committed and durable here, never given out before, in order.</summary>
    public IReadOnlyList<Entry> Committed { get; init; } = [];

    /// <summary>These promise nothing that the disk must keep.</summary>
    public IReadOnlyList<Message> Messages { get; init; } = [];

    /// <summary>These promise what this and all earlier <see cref="Ready"/> ask to write.</summary>
    public IReadOnlyList<Message> MessagesAfterPersist { get; init; } = [];

    public IReadOnlyList<ReadState> ReadStates { get; init; } = [];

    /// <summary>Whether the writing must be flushed before <see cref="RaftNode.Persisted"/>: a commit index alone need not.</summary>
    public bool MustSync { get; init; }

    /// <summary>Whether <see cref="RaftNode.Persisted"/> must be called for this.</summary>
    public bool NeedsPersist => HardState is not null || Snapshot is not null || Entries.Count > 0 || MessagesAfterPersist.Count > 0;
}

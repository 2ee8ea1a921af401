namespace Kapell.Raft;

/// <summary>What the data of an entry means to Raft.</summary>
public enum EntryKind : byte
{
    /// <summary>Opaque to Raft. Empty data is the entry by which a new leader commits its term: nothing to apply.</summary>
    Normal = 0,

    /// <summary>The data is a <see cref="ConfChange"/>; the host calls <see cref="RaftNode.ApplyConfChange"/> when it applies it.</summary>
    ConfChange = 1,
}

/// <summary>One entry of the log. The data is not copied: who gives it away must not change it any more.</summary>
public sealed record Entry(LogIndex Index, Term Term, EntryKind Kind, ReadOnlyMemory<byte> Data)
{
    public LogPosition Position => new(Term, Index);
}

/// <summary>An entry that has no place yet, on its way to the leader.</summary>
public sealed record ProposedEntry(EntryKind Kind, ReadOnlyMemory<byte> Data);

namespace Kapell.Sim.Checks;

internal enum OperationKind
{
    Put,
    Delete,

    /// <summary>A transaction: if the key has the expected value (null: is not there), put; else get.</summary>
    Replace,
    Get,

    /// <summary>Two keys in one transaction.</summary>
    PutTwo,
    Grant,
    Revoke,
    PutWithLease,
    Compact,
    Change,

    /// <summary>Of users and roles.</summary>
    Users,

    /// <summary>A put that a lock guards.</summary>
    Guarded,
}

internal enum OperationState
{
    Pending,
    Done,

    /// <summary>It has not happened and will not.</summary>
    Refused,

    /// <summary>It may have happened, or may happen later.</summary>
    Unknown,
}

/// <summary>What a client asked and what it was told, with the time of both: the turns of the agenda, or a real clock's.</summary>
internal sealed partial class Operation(int number, OperationKind kind, int member, string key)
{
    public int Number { get; } = number;

    public OperationKind Kind { get; } = kind;

    public int Member { get; } = member;

    public string Key { get; } = key;

    public string? OtherKey { get; init; }

    public string? Value { get; init; }

    public string? Expected { get; init; }

    public long Lease { get; init; }

    public ulong Begun { get; set; }

    public ulong Ended { get; set; } = ulong.MaxValue;

    public OperationState State { get; private set; }

    /// <summary>Why it is not done, in words.</summary>
    public string? Error { get; private set; }

    /// <summary>Of the response.</summary>
    public long Revision { get; set; }

    /// <summary>What a get, or the other branch of a transaction, found.</summary>
    public string? Found { get; set; }

    public long FoundRevision { get; set; }

    public bool Succeeded { get; set; }

    public bool IsWrite => Kind is not OperationKind.Get;

    public void Mark(OperationState state, string? error) => (State, Error) = (state, error);

    public override string ToString() =>
        $"#{Number} {Kind} {Key}{(OtherKey is null ? "" : "," + OtherKey)} {Expected}>{Value} at {Member}: {State} {Error} revision {Revision} found {Found} [{Begun}..{(Ended == ulong.MaxValue ? "" : Ended)}]";
}

using Kapell.Raft;

namespace Kapell.Etcd.Server.Replication;

/// <summary>A command or change of the membership on its way through the log, and who waits for what becomes of it.</summary>
public sealed class Proposal(ulong id, byte[] data, IOutcome<ApplyOutcome> outcome)
{
    private long _firstSeen;

    public ulong Id { get; } = id;

    public byte[] Data { get; } = data;

    /// <summary>What the data was made of, and so need not be read from it again; null when that is not known. Its request must not change.</summary>
    public Command? Command { get; init; }

    /// <summary>Set when this is a change of the membership.</summary>
    public ConfChange? Change { get; init; }

    public IOutcome<ApplyOutcome> Outcome { get; } = outcome;

    /// <summary>Milliseconds since this was asked first.</summary>
    public long Age(long now)
    {
        _firstSeen = _firstSeen == 0 ? now : _firstSeen;
        return now - _firstSeen;
    }
}

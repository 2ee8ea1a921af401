using Kapell.Base;

namespace Kapell.Raft;

/// <summary>The settings of one member. Time is counted in ticks of the host.</summary>
public sealed record RaftConfig
{
    public required MemberId Id { get; init; }

    /// <summary>Draws the election timeouts, so that members do not campaign together (Raft §5.2).</summary>
    public required Prng Prng { get; init; }

    /// <summary>A follower that hears nothing for this long, up to twice as long, campaigns. Ten heartbeats is usual.</summary>
    public int ElectionTicks { get; init; } = 10;

    public int HeartbeatTicks { get; init; } = 1;

    /// <summary>Ask whether an election could be won before starting one: a member that was cut off does not depose the leader.</summary>
    public bool PreVote { get; init; } = true;

    /// <summary>A leader that hears from no majority for an election timeout steps down; followers protect a leader they hear.</summary>
    public bool CheckQuorum { get; init; } = true;

    public int EntriesPerMessageMax { get; init; } = 4096;

    /// <summary>Entries are added to a message while its payload is below this; one entry always goes.</summary>
    public long BytesPerMessageMax { get; init; } = 512 * 1024;

    /// <summary>Messages on their way to one follower before the leader waits for an answer.</summary>
    public int InflightMax { get; init; } = 512;

    /// <summary>Bytes of entries on their way to one follower before the leader waits for an answer; one message of any size always goes.</summary>
    public long InflightBytesMax { get; init; } = 64L << 20;

    /// <summary>Proposals are refused while this many bytes wait for their commit, so a leader without followers stays small.</summary>
    public long UncommittedBytesMax { get; init; } = 1L << 30;

    /// <summary>Payload of committed entries in one <see cref="Ready"/>, so that applying does not starve the rest.</summary>
    public long CommittedBytesPerReadyMax { get; init; } = 16L << 20;

    /// <summary>So many of the newest applied entries, which followers that keep up are sent, stay as they are; older ones are packed.</summary>
    public int LooseEntriesMin { get; init; } = 256;

    /// <summary>Reads that may wait for their confirmation; more are dropped (the host asks once for many).</summary>
    public int PendingReadsMax { get; init; } = 65536;

    internal void Validate()
    {
        Check.That(!Id.IsNone);
        Check.That(HeartbeatTicks > 0);
        Check.That(ElectionTicks > HeartbeatTicks);
        Check.That(EntriesPerMessageMax > 0);
        Check.That(BytesPerMessageMax > 0);
        Check.That(InflightMax > 0);
        Check.That(InflightBytesMax > 0);
        Check.That(UncommittedBytesMax > 0);
        Check.That(CommittedBytesPerReadyMax > 0);
        Check.That(LooseEntriesMin > 0);
        Check.That(PendingReadsMax > 0);
    }
}

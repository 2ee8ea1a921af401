using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Raft;

namespace Kapell.Sim.World;

/// <summary>
/// Deliberate damage: each is a decorator around the product's own parts, so that a scenario can prove that it would see the bug. None of
/// it exists in the product.
/// </summary>
internal sealed record Breakage
{
    public static Breakage None { get; } = new();

    /// <summary>Flushes are acknowledged and not done.</summary>
    public bool DiskAcknowledgesBeforeSync { get; init; }

    /// <summary>What a member applies in place of an entry.</summary>
    public Func<int, Entry, Entry>? Applies { get; init; }

    /// <summary>After a restart the last entry of the checkpoint is carried out again: content and its index were not saved in one step.</summary>
    public bool AppliesAgainAfterRestart { get; init; }

    public Func<RaftConfig, RaftConfig>? Raft { get; init; }

    /// <summary>What a member takes in place of a message.</summary>
    public Func<Message, Message>? Takes { get; init; }

    /// <summary>What stands between a watch and the changes.</summary>
    public Func<IWatchTarget, IWatchTarget>? Watch { get; init; }

    /// <summary>Linearizable reads are answered from what is there.</summary>
    public bool ReadsWithoutBarrier { get; init; }

    /// <summary>Whoever thinks that it leads renews leases, however long ago that was certain.</summary>
    public bool RenewsWithoutProof { get; init; }

    /// <summary>By how many percent a leader's clock of leases runs too fast.</summary>
    public long LeaseClockPercent { get; init; }

    /// <summary>What the watch answers in place of the response.</summary>
    public Func<WatchResponse, WatchResponse>? WatchAnswers { get; init; }

    /// <summary>The first revision a watch asks for, in place of the one wanted.</summary>
    public Func<long, long>? WatchStarts { get; init; }

    /// <summary>Each life of a process counts its reads from one.</summary>
    public bool ReadsCountFromOne { get; init; }

    /// <summary>A learner is promoted as soon as it has once caught up.</summary>
    public bool PromotesAtOnce { get; init; }

    /// <summary>Whoever asks is let in to what the lock guards, without a look at who holds it.</summary>
    public bool LocksForAnybody { get; init; }

    /// <summary>In the memory of this member a bit of a value flips; 0: of none.</summary>
    public int FlipsABitOf { get; init; }

    /// <summary>Two checkpoints that arrive in a short time are both handed over, whatever Raft said.</summary>
    public bool InstallsTwice { get; init; }
}

using Kapell.Etcd.Server.Replication;

namespace Kapell.Sim.World;

/// <summary>What a run is like; what is not said here comes from the seed.</summary>
internal sealed record SimOptions
{
    public int Members { get; init; } = 3;

    /// <summary>Small, so that segments end often.</summary>
    public int SegmentBytes { get; init; } = 16384;

    public ulong CheckpointEntries { get; init; } = 60;

    /// <summary>Applied entries that stay in memory: a member that lags by more is sent a checkpoint.</summary>
    /// <summary>Few, so that followers that lag are sent packed ones.</summary>
    public int LooseEntriesMin { get; init; } = 4;

    public LogRetention Retention { get; init; } = Keep(20);

    public bool PreVote { get; init; } = true;

    /// <summary>How long a learner must keep up before it votes by itself; 0: never.</summary>
    public int PromoteAfterMilliseconds { get; init; }

    /// <summary>By how many millionths of the time a member's clock may run fast or slow.</summary>
    public int ClockDriftMillionths { get; init; }

    /// <summary>Is told what happens, for who looks into a failure.</summary>
    public Action<string>? Trace { get; init; }

    public Breakage Breakage { get; init; } = Breakage.None;

    public static LogRetention Keep(int entries) => new() { Entries = entries, BytesForLagging = 0 };
}

using Kapell.Base;
using Kapell.Sim.Checks;
using Kapell.Sim.Faults;
using Kapell.Sim.World;

namespace Kapell.Sim;

/// <summary>What a run came to.</summary>
internal sealed record RunReport(ulong Seed, ulong Unseed, int Members, int Operations, int Acknowledged, int Entries, int Elections, int Starts, int WatchEvents, int Expired, int Undecided, long Milliseconds)
{
    public override string ToString() =>
        $"seed={Seed} unseed={Unseed:x16} members={Members} operations={Operations} acknowledged={Acknowledged} entries={Entries} elections={Elections} starts={Starts} events={WatchEvents} expired={Expired} undecided={Undecided} simulated={Milliseconds}ms";
}

/// <summary>One random run: a cluster, clients and faults drawn from the seed, then calm, then every check.</summary>
internal static class RandomRun
{
    public static RunReport Of(ulong seed, Breakage? breakage = null, Action<string>? trace = null)
    {
        Prng prng = new(seed ^ 0x5EED);
        int members = prng.NextInt(0, 10) switch { 0 => 1, 1 => 2, 2 or 3 or 4 or 5 => 3, 6 => 4, 7 or 8 => 5, _ => 7 };
        SimOptions options = new()
        {
            Members = members,
            PreVote = !prng.Chance(0.1),
            SegmentBytes = prng.Chance(0.5) ? 16384 : 8192,
            CheckpointEntries = (ulong)prng.NextInt(20, 150),
            Retention = SimOptions.Keep(prng.NextInt(0, 40)) with { BytesForLagging = prng.Chance(0.5) ? 0 : 4096 },
            PromoteAfterMilliseconds = prng.Chance(0.3) ? prng.NextInt(100, 3000) : 0,
            ClockDriftMillionths = prng.Chance(0.4) ? prng.NextInt(1, 50_000) : 0,
            Breakage = breakage ?? Breakage.None,
            Trace = trace,
        };
        using Simulation sim = new(seed, options);
        Workload workload = new(sim, sim.Split());
        Nemesis nemesis = new(sim, sim.Split());
        workload.Begin();
        nemesis.Begin();
        sim.RunFor(prng.NextInt(10_000, 40_000));
        workload.End();
        nemesis.End();
        sim.Settle(also: () => nemesis.IsDone && workload.IsDone);
        return new RunReport(
            seed, sim.Unseed.Value, members, sim.Operations.Count, sim.Operations.Count(static o => o.State == OperationState.Done),
            sim.Checks.AppliedCount, sim.LeaderElections, sim.Restarts, workload.WatchEvents, sim.Checks.Leases.Expired, sim.Undecided, sim.Agenda.Now / 1000);
    }
}

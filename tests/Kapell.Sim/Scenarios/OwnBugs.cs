using Kapell.Raft;
using Kapell.Sim.Checks;
using Kapell.Sim.World;

namespace Kapell.Sim.Scenarios;

/// <summary>Promises beside the list of known bugs, and bugs that the simulator found in us.</summary>
internal static class OwnBugs
{
    private static readonly SimOptions Three = new() { CheckpointEntries = 100_000, Retention = SimOptions.Keep(5) };

    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("an_answer_to_an_earlier_life_confirms_no_read", "a late answer confirmed the read of a later life", Three, LateAnswer,
            new Breakage { ReadsCountFromOne = true }, "stale"),
        new("a_lease_lives_its_time", "leases", Three, KeepLease, new Breakage { LeaseClockPercent = 50 }, "before its time"),
        new("one_leader_a_term", "elections", Three with { PreVote = false }, ManyElections,
            new Breakage { Takes = static m => m is VoteResponse v ? v with { Granted = true } : m }, "lead in term"),
        new("a_watch_follows_a_store_that_is_replaced", "checkpoints", Three, WatchThroughCheckpoint,
            new Breakage { Watch = static t => new Faults.DeafTarget(t) }, ""),
        new("a_learner_votes_when_it_has_kept_up_for_a_while", "learners", Three with { PromoteAfterMilliseconds = 2000 }, PromoteByItself,
            new Breakage { PromotesAtOnce = true }, "before it was steady"),
        new("a_lease_lives_its_time_by_clocks_that_drift", "leases", Three with { ClockDriftMillionths = 50_000 }, KeepLease,
            new Breakage { LeaseClockPercent = 50 }, "before its time"),
        new("a_leader_that_was_away_renews_no_lease_unproven", "leases", Three, RenewAfterPause,
            new Breakage { RenewsWithoutProof = true }, "before its time"),
        new("what_a_lock_guards_is_written_by_its_holder_alone", "locks", Three, PassLockOn,
            new Breakage { LocksForAnybody = true }, "a lock is held by"),
        new("members_that_part_are_named", "damage in memory", Three, CompareAfterDamage,
            new Breakage { FlipsABitOf = 2 }, "member 2 differs from the majority, first at key \"k3\""),
    ];

    private static void LateAnswer(Simulation sim)
    {
        KnownBugs.Puts(sim, 5);
        int leader = sim.Leader!.Number;
        int follower = KnownBugs.Follower(sim);
        sim.Run(ticks: 5);
        (sim.Network.DelayMicrosecondsMin, sim.Network.DelayMicrosecondsMax) = (300_000, 300_001);
        sim.Run(ticks: 8);
        sim.Clients.Get(follower, "k1");
        sim.RunFor(milliseconds: 310);
        Operation put = sim.Clients.Put(leader, "k1", "new");
        sim.RunFor(milliseconds: 690);
        sim.Restart(follower);
        KnownBugs.Await(sim, put);
        KnownBugs.Await(sim, sim.Clients.Get(follower, "k1"));
        sim.Settle();
    }

    private static void KeepLease(Simulation sim)
    {
        KnownBugs.Await(sim, sim.Clients.Grant(sim.Leader!.Number, 7, ttlSeconds: 5));
        KnownBugs.Await(sim, sim.Clients.PutWithLease(sim.Leader!.Number, "lease", "v", 7));
        sim.Clients.KeepAlive(7);
        sim.Run(ticks: 30);
        sim.Clients.KeepAlive(7);
        if (!sim.RunUntil(() => sim.Leader?.Store.Leases.Count == 0, ticks: 200))
        {
            throw sim.Fail("a lease outlives its time");
        }

        sim.Settle();
    }

    /// <summary>A leader goes on after a pause in which another was elected, and finds a client's renewal before it hears of that.</summary>
    private static void RenewAfterPause(Simulation sim)
    {
        KnownBugs.Await(sim, sim.Clients.Grant(sim.Leader!.Number, 7, ttlSeconds: 6));
        MemberProcess former = sim.Leader!;
        sim.Clients.KeepAlive(7);
        sim.Isolate(former.Number);
        former.Pause();
        sim.Clients.KeepAliveBy(former, 7);
        if (!sim.RunUntil(() => sim.Leader is { } leader && leader != former, ticks: 40))
        {
            throw sim.Fail("nobody takes the place of a leader that is away");
        }

        sim.Run(ticks: 25);
        former.Resume();
        sim.Heal();
        if (!sim.RunUntil(() => sim.Leader is { } leader && leader.Store.Leases.Count == 0, ticks: 200))
        {
            throw sim.Fail("a lease outlives its time");
        }

        sim.Settle();
    }

    private static void PromoteByItself(Simulation sim)
    {
        KnownBugs.Puts(sim, 10);
        int number = sim.NextNumber;
        KnownBugs.Await(sim, sim.Clients.Change(sim.Leader!.Number, ConfChangeKind.AddLearner, number, SimMember.Entry(number, learner: true)));
        sim.Join(number);
        sim.Isolate(number);
        bool Votes() => sim.Leader?.Replica.Raft.ConfState.Voters.Contains(new MemberId((ulong)number)) == true;
        sim.Run(ticks: 50);
        if (Votes())
        {
            throw sim.Fail("a learner that hears nothing votes");
        }

        sim.Heal();
        long healed = sim.Agenda.Now;
        if (!sim.RunUntil(Votes, ticks: 300))
        {
            throw sim.Fail("a learner that keeps up does not come to vote");
        }

        if (sim.Agenda.Now - healed < 2_000_000)
        {
            throw sim.Fail("a learner votes before it was steady");
        }

        sim.Settle();
    }

    /// <summary>Locks as etcd has them: the oldest key under a prefix holds it, each with a lease; leaders die and leases run out meanwhile.</summary>
    private static void PassLockOn(Simulation sim)
    {
        LockCheck locks = new(sim, "lock/");
        for (int i = 0; i < 8; i++)
        {
            int member = sim.Elect().Number;
            long lease = 100 + i;
            KnownBugs.Await(sim, sim.Clients.Grant(member, lease, ttlSeconds: 3));
            string key = $"lock/{lease}";
            Operation take = KnownBugs.Await(sim, sim.Clients.PutWithLease(member, key, "v", lease));
            if (i % 3 == 2)
            {
                sim.Restart(sim.Elect().Number);
            }

            // Waits until it is its turn: its predecessors' leases run out.
            bool mine = sim.RunUntil(() => sim.Breakage.LocksForAnybody || locks.IsHolder(key, take.Revision), ticks: 200);
            sim.Clients.KeepAlive(lease);
            if (mine)
            {
                locks.Entered(key, take.Revision);
                sim.Clients.PutGuarded(sim.Elect().Number, "guarded", key, key, take.Revision);
            }

            sim.Run(ticks: i % 2 == 0 ? 3 : 12);
        }

        sim.Settle();
        locks.Run();
    }

    private static void CompareAfterDamage(Simulation sim)
    {
        KnownBugs.Puts(sim, 40);
        KnownBugs.Await(sim, sim.Clients.Compact(sim.Leader!.Number, 20, physical: false));
        KnownBugs.Puts(sim, 10);
        sim.Checkpoint(3);
        sim.Run(ticks: 10);
        sim.Restart(3);
        sim.Settle();
        if (sim.Breakage.FlipsABitOf != 0)
        {
            Faults.MemoryFault.FlipValue(sim.Member(sim.Breakage.FlipsABitOf)!.Process!.Store, "k3");
        }

        SimComparison.Run(sim);
    }

    private static void ManyElections(Simulation sim)
    {
        for (int i = 0; i < 40; i++)
        {
            (sim.Network.DelayMicrosecondsMin, sim.Network.DelayMicrosecondsMax) = (50_000, 400_000);
            sim.Isolate(sim.Leader?.Number ?? 1);
            sim.Run(ticks: 15);
            sim.Heal();
            sim.Run(ticks: 10);
        }

        sim.Settle();
    }

    private static void WatchThroughCheckpoint(Simulation sim)
    {
        int behind = KnownBugs.Follower(sim);
        SimWatch watch = KnownBugs.Watch(sim, from: 1, member: behind);
        KnownBugs.Puts(sim, 5);
        sim.Isolate(behind);
        KnownBugs.Puts(sim, 30);
        sim.Checkpoint(sim.Leader!.Number);
        sim.Run(ticks: 5);
        sim.Heal();
        sim.Settle(also: () => watch.IsUpToDate);
        KnownBugs.Puts(sim, 5);
        sim.Settle(also: () => watch.IsUpToDate);
    }
}

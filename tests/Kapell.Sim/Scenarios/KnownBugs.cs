using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc.Auth;
using Kapell.Raft;
using Kapell.Sim.Checks;
using Kapell.Sim.Faults;
using Kapell.Sim.World;

namespace Kapell.Sim.Scenarios;

/// <summary>The bugs that etcd's robustness tests keep a list of, as far as our design could have them; docs/BUGS.md says which could not.</summary>
internal static class KnownBugs
{
    private static readonly SimOptions Three = new() { CheckpointEntries = 100_000, Retention = SimOptions.Keep(5) };
    private static readonly SimOptions One = Three with { Members = 1 };

    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("content_and_index_are_saved_in_one_step", "etcd-io/etcd#13766", Three, CheckpointAndCrash,
            new Breakage { AppliesAgainAfterRestart = true }, "has applied"),
        new("a_single_member_keeps_what_it_acknowledged", "etcd-io/etcd#14370", One, AcknowledgeAndCrash,
            new Breakage { DiskAcknowledgesBeforeSync = true }, ""),
        new("enabling_users_leads_to_no_inconsistency", "etcd-io/etcd#14571", Three, EnableUsers,
            new Breakage { Applies = static (member, entry) => member == 2 && Is(entry, CommandKind.AuthEnable) ? entry with { Data = default } : entry }, ""),
        new("a_crash_while_memory_is_freed_changes_no_revision", "etcd-io/etcd#14685", Three, FreeAndCrash,
            new Breakage { AppliesAgainAfterRestart = true }, "has applied"),
        new("what_a_crash_tears_is_not_half_there", "etcd-io/etcd#20271", One, TearAndStart,
            new Breakage { DiskAcknowledgesBeforeSync = true }, ""),
        new("a_bookmark_comes_behind_the_events_it_speaks_of", "etcd-io/etcd#15220", Three, WatchWithBookmarks,
            new Breakage { Watch = static t => new LateTarget(t) }, "a bookmark says that all was sent"),
        new("a_watch_does_not_travel_back_on_a_member_that_lags", "etcd-io/etcd#15271", Three with { Retention = SimOptions.Keep(100) }, ResumeOnLaggingMember,
            new Breakage { WatchStarts = static _ => 0 }, "a watch of k from"),
        new("an_event_comes_once", "etcd-io/etcd#17247", Three, WatchWithBookmarks,
            new Breakage { Watch = static t => new DuplicatingTarget(t) }, "where"),
        new("a_slow_watch_loses_nothing", "etcd-io/etcd#17529", Three, SlowWatch,
            new Breakage { Watch = static t => new DroppingTarget(t) }, ""),
        new("the_revision_does_not_fall_in_a_crash_while_compacting", "etcd-io/etcd#17780", Three, CompactAndCrash,
            new Breakage { Applies = static (member, entry) => member == 2 && Is(entry, CommandKind.DeleteRange) ? entry with { Data = default } : entry }, "has applied"),
        new("a_deletion_at_the_compacted_revision_is_watched", "etcd-io/etcd#18089", One, WatchDeletionAtCompaction,
            new Breakage { WatchStarts = static revision => revision + 1 }, "not calm"),
        new("two_checkpoints_in_a_short_time", "etcd-io/etcd#18055", Three, TwoCheckpoints,
            new Breakage { InstallsTwice = true }, "invariant broken"),
        new("a_transaction_reads_a_compacted_revision_alike_everywhere", "etcd-io/etcd#18667", Three, ReadCompactedInTransaction,
            new Breakage { Applies = static (member, entry) => member == 2 && Is(entry, CommandKind.Compact) ? entry with { Data = default } : entry }, ""),
        new("a_deletion_at_the_compacted_revision_outlives_a_restart", "etcd-io/etcd#19179", One, WatchDeletionAfterRestart,
            new Breakage { WatchStarts = static revision => revision + 1 }, "not calm"),
        new("a_watch_of_the_future_gets_no_bookmark_of_the_past", "etcd-io/etcd#20221 (1)", Three, WatchTheFuture,
            new Breakage { WatchAnswers = AsBookmark }, "bookmark of the past"),
        new("a_watch_of_the_future_gets_no_events_of_the_past", "etcd-io/etcd#20221 (2)", Three, WatchTheFuture,
            new Breakage { WatchStarts = static _ => 1 }, "where"),
        new("a_paused_leader_reads_nothing_stale", "etcd-io/etcd#20418", Three, ReadAfterPause,
            new Breakage { ReadsWithoutBarrier = true }, "stale"),
    ];

    /// <summary>Requests of before, as nobody and as somebody with rights of an earlier revision, are under way while users come into force.</summary>
    private static void EnableUsers(Simulation sim)
    {
        int leader = sim.Leader!.Number;
        Caller root = new(AuthTable.Root, 0);
        Await(sim, sim.Clients.Users(leader, CommandKind.UserAdd, new AuthUserAddRequest { Name = "root", HashedPassword = "eA==" }));
        Await(sim, sim.Clients.Users(leader, CommandKind.RoleAdd, new AuthRoleAddRequest { Name = "root" }));
        Await(sim, sim.Clients.Users(leader, CommandKind.UserGrantRole, new AuthUserGrantRoleRequest { User = "root", Role = "root" }));
        sim.Checkpoint(3);
        for (int i = 0; i < 12; i++)
        {
            sim.Clients.PutAs(1 + (i % 3), $"k{i % 4}", $"before {i}", i % 2 == 0 ? default : root with { Revision = (ulong)i });
            if (i == 5)
            {
                sim.Clients.Users(leader, CommandKind.AuthEnable, new AuthEnableRequest());
            }

            sim.RunFor(milliseconds: 3);
        }

        sim.Run(ticks: 5);
        sim.Restart(3);
        ulong revision = sim.Elect().Replica.Applier.Auth.Revision;
        Operation refused = Await(sim, sim.Clients.PutAs(sim.Elect().Number, "k1", "nobody's", default));
        if (refused.State == OperationState.Done)
        {
            throw sim.Fail($"users are enabled, and nobody may write: {refused}");
        }

        Await(sim, sim.Clients.PutAs(sim.Elect().Number, "k1", "root's", root with { Revision = revision }));
        sim.Settle();
    }

    /// <summary>What takes the place of defragmentation: revisions are freed and pages emptied in steps, with checkpoints and crashes between them.</summary>
    private static void FreeAndCrash(Simulation sim)
    {
        for (int round = 0; round < 3; round++)
        {
            Puts(sim, 20);
            Await(sim, sim.Clients.Compact(sim.Elect().Number, sim.Elect().Store.Revision - 3, physical: false));
            sim.Checkpoint(2);
            sim.RunFor(milliseconds: 130);
            sim.Restart(2);
            Puts(sim, 5);
        }

        sim.Settle();
    }

    /// <summary>Power fails while a checkpoint and the log are being written: of the last writes some sectors are there and some are not.</summary>
    private static void TearAndStart(Simulation sim)
    {
        for (int round = 0; round < 6; round++)
        {
            Puts(sim, 12);
            sim.Checkpoint(1);
            sim.Clients.Put(1, "k0", $"torn {round}");
            sim.RunFor(milliseconds: 3 + (7 * round));
            sim.Crash(1).Tear();
            sim.Start(1);
            sim.Elect();
        }

        sim.Settle();
    }

    private static void CheckpointAndCrash(Simulation sim)
    {
        Puts(sim, 20);
        sim.Checkpoint(2);
        sim.Run(ticks: 5);
        sim.Crash(2).DropUnsynced();
        sim.Start(2);
        Puts(sim, 5);
        sim.Settle();
    }

    private static void AcknowledgeAndCrash(Simulation sim)
    {
        Puts(sim, 20);
        sim.Crash(1).DropUnsynced();
        sim.Start(1);
        Puts(sim, 5);
        sim.Settle();
    }

    private static void WatchWithBookmarks(Simulation sim)
    {
        SimWatch watch = Watch(sim, from: 1, member: 2);
        for (int i = 0; i < 5; i++)
        {
            Puts(sim, 3);
            watch.AskProgress();
            sim.Run(ticks: 2);
        }

        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void SlowWatch(Simulation sim)
    {
        SimWatch watch = Watch(sim, from: 1, member: 2, slownessMicroseconds: 500_000);
        for (int i = 0; i < 10; i++)
        {
            Puts(sim, 6);
            watch.AskProgress();
            sim.Run(ticks: 8);
        }

        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void ResumeOnLaggingMember(Simulation sim)
    {
        SimWatch watch = Watch(sim, from: 1, member: sim.Leader!.Number);
        Puts(sim, 3);
        int lagging = Follower(sim);
        sim.Isolate(lagging);
        Puts(sim, 10);
        sim.RunUntil(() => watch.IsUpToDate, ticks: 50);
        watch.Connect(lagging);
        sim.Run(ticks: 5);
        sim.Heal();
        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void CompactAndCrash(Simulation sim)
    {
        Puts(sim, 20);
        Await(sim, sim.Clients.Delete(sim.Leader!.Number, "k1"));
        sim.Clients.Compact(sim.Leader!.Number, sim.Checks.Revision, physical: false);
        sim.RunFor(milliseconds: 3);
        sim.Crash(2).DropUnsynced();
        sim.Start(2);
        sim.Settle();
    }

    private static void WatchDeletionAtCompaction(Simulation sim)
    {
        Puts(sim, 5);
        Operation deleted = Await(sim, sim.Clients.Delete(1, "k1"));
        Await(sim, sim.Clients.Compact(1, deleted.Revision, physical: true));
        SimWatch watch = Watch(sim, from: deleted.Revision, member: 1);
        watch.AskProgress();
        sim.Run(ticks: 10);
        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void WatchDeletionAfterRestart(Simulation sim)
    {
        Puts(sim, 5);
        Operation deleted = Await(sim, sim.Clients.Delete(1, "k1"));
        Await(sim, sim.Clients.Compact(1, deleted.Revision, physical: true));
        sim.Checkpoint(1);
        sim.Run(ticks: 5);
        sim.Restart(1);
        sim.Elect();
        SimWatch watch = Watch(sim, from: deleted.Revision, member: 1);
        watch.AskProgress();
        sim.Run(ticks: 10);
        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void TwoCheckpoints(Simulation sim)
    {
        int behind = Follower(sim);
        sim.Isolate(behind);
        for (int i = 0; i < 2; i++)
        {
            Puts(sim, 30);
            sim.Checkpoint(sim.Leader!.Number);
            sim.Run(ticks: 5);
            sim.DiskSlowness = 60;
            sim.Heal();
            sim.Run(ticks: 4);
        }

        sim.Settle();
    }

    private static void ReadCompactedInTransaction(Simulation sim)
    {
        Puts(sim, 20);
        int leader = sim.Leader!.Number;
        Await(sim, sim.Clients.Compact(leader, 10, physical: false));
        Operation refused = Await(sim, sim.Clients.PutReading(leader, "k1", "never", revision: 5));
        if (refused.State != OperationState.Refused)
        {
            throw sim.Fail($"a compacted revision was read: {refused}");
        }

        Puts(sim, 10);
        sim.Settle();
    }

    private static void WatchTheFuture(Simulation sim)
    {
        SimWatch watch = Watch(sim, from: 15, member: 2);
        for (int i = 0; i < 10; i++)
        {
            Puts(sim, 3);
            watch.AskProgress();
            sim.Run(ticks: 1);
        }

        sim.Settle(also: () => watch.IsUpToDate);
    }

    private static void ReadAfterPause(Simulation sim)
    {
        int former = sim.Leader!.Number;
        Puts(sim, 5);
        sim.Pause(former);
        sim.Isolate(former);
        if (!sim.RunUntil(() => sim.Running.Any(p => p.Leads && p.Number != former), ticks: 100))
        {
            throw sim.Fail("nobody takes over from a paused leader");
        }

        int successor = sim.Running.Single(p => p.Leads && p.Number != former).Number;
        Await(sim, sim.Clients.Put(successor, "k1", "new"));
        sim.Run(ticks: 1);
        Operation read = sim.Clients.Get(former, "k1");
        sim.Resume(former);
        sim.Run(ticks: 2);
        sim.Heal();
        Await(sim, read);
        sim.Settle();
    }

    public static void Puts(Simulation sim, int count)
    {
        for (int i = 0; i < count; i++)
        {
            Await(sim, sim.Clients.Put((sim.Leader ?? sim.Elect()).Number, $"k{i % 4}", $"v{sim.Operations.Count}"));
        }
    }

    public static Operation Await(Simulation sim, Operation operation) =>
        sim.RunUntil(() => operation.State != OperationState.Pending, ticks: 100) ? operation : throw sim.Fail($"no answer: {operation}");

    public static SimWatch Watch(Simulation sim, long from, int member, int slownessMicroseconds = 2000)
    {
        SimWatch watch = new(sim, sim.Split(), "k", single: false, from, slownessMicroseconds);
        watch.Connect(member);
        return watch;
    }

    public static int Follower(Simulation sim) => sim.Members.First(m => m.Number != sim.Leader!.Number).Number;

    private static bool Is(Entry entry, CommandKind kind) => entry.Kind == EntryKind.Normal && entry.Data.Length > 8 && entry.Data.Span[8] == (byte)kind;

    private static WatchResponse AsBookmark(WatchResponse response) => new() { Header = response.Header, WatchId = response.WatchId };
}

using System.Diagnostics;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Faults.Clients;
using Kapell.Faults.World;
using Kapell.Sim.Checks;
using Member = Kapell.Faults.World.Member;

namespace Kapell.Faults.Rounds;

/// <summary>
/// Load on all members, a killed leader, faults, healing; then everything that clients were told is held against what the members have.
/// </summary>
internal sealed class Round(TestCluster cluster, FaultCounts counts, int number, Prng prng)
{
    private const int Clients = 4;
    private const int LeaseClients = 2;
    private const int Watchers = 3;
    private static readonly TimeSpan LeaseWait = TimeSpan.FromSeconds(15);
    private readonly History _history = new($"r{number}/");
    private readonly List<Watcher> _watchers = [];

    /// <summary>No fault but the leader's death.</summary>
    public bool OnlyKillsTheLeader { get; init; }

    /// <summary>No fault but that and a jump of a wall clock.</summary>
    public bool OnlyJumpsWallClocks { get; init; }

    private string LastKey => _history.Prefix + "~end";

    /// <summary>One line about it.</summary>
    public async Task<string> RunAsync()
    {
        long begun = Stopwatch.GetTimestamp();
        long before = (await RangeAsync(cluster.Members[0], "?")).Header.Revision;
        using CancellationTokenSource late = new(TimeSpan.FromMinutes(4));
        using CancellationTokenSource loadEnds = new();
        StoreCalls calls = new(cluster, _history);
        Load load = new(cluster, calls, loadEnds.Token);
        List<Task> clients = [.. Enumerable.Range(0, Clients).Select(_ => Client(prng.Split(), load.AskAsync)),
            .. Enumerable.Range(0, LeaseClients).Select(_ => Client(prng.Split(), load.HoldLeasesAsync))];
        for (int i = 0; i < Watchers; i++)
        {
            Watcher watcher = new(cluster, _history, before + 1, prng.Split());
            _watchers.Add(watcher);
            clients.Add(Task.Run(() => watcher.RunAsync(LastKey, null, late.Token)));
        }

        Nemesis nemesis = new(cluster, counts, prng.Split());
        counts.Add("leader-kill");
        TimeSpan gap = await LeaderKill.RunAsync(cluster, calls, prng.Split());
        counts.AddLeaderGap(gap);
        string what = await DoFaultsAsync(nemesis, calls);
        TimeSpan healed = await cluster.HealAsync();
        await loadEnds.CancelAsync();
        await Task.WhenAll(clients.Take(Clients + LeaseClients));
        await LeasesEndAsync();
        Operation last = await calls.PutAsync(await cluster.LeaderAsync(), LastKey);
        if (last.State != OperationState.Done)
        {
            throw cluster.Fail($"after all was healed: {last}");
        }

        await Task.WhenAll(clients);
        int undecided = await CheckAsync(before + 1, last.Revision);
        await CompactAsync(last.Revision);
        IReadOnlyList<Operation> all = _history.Operations;
        return $"ok {number} gap {gap.TotalMilliseconds:f0} ms, all serve after {healed.TotalMilliseconds:f0} ms, {all.Count(static o => o.State == OperationState.Done)} done "
            + $"{all.Count(static o => o.State == OperationState.Unknown)} unknown, {_history.StaleReads.Count} serializable, {_history.Leases.Count} leases, "
            + $"{_watchers.Sum(static w => w.Changes.Count)} events {_watchers.Sum(static w => w.Resumed)} resumed, {last.Revision - before} revisions"
            + (undecided > 0 ? $", {undecided} undecided" : "") + $", {Stopwatch.GetElapsedTime(begun).TotalSeconds:f1} s: {what}";
    }

    // A client that fails ends the run: its exception comes out where all are waited for.
    private static Task Client(Prng prng, Func<Prng, Task> work) => Task.Run(() => work(prng));

    private async Task<string> DoFaultsAsync(Nemesis nemesis, StoreCalls calls)
    {
        if (OnlyKillsTheLeader)
        {
            return "nothing else";
        }

        switch (OnlyJumpsWallClocks ? 20 : prng.NextInt(0, cluster.HasWallClocks ? 22 : 20))
        {
            case 0 or 1:
                bool leads = prng.Chance(0.5);
                counts.Add(leads ? "minority-with-leader" : "minority");
                await Minority.RunAsync(cluster, calls, prng.Split(), leads);
                return leads ? "minority-with-leader" : "minority";
            case 2:
                counts.Add("rolling-restart");
                foreach (Member member in cluster.Members)
                {
                    member.Terminate();
                    cluster.Start(member.Index);
                    await cluster.ServeAsync(member.Index);
                }

                return "rolling-restart";
            case 3 or 4:
                counts.Add("wipe-and-rejoin");
                int victim = prng.NextInt(0, cluster.Members.Count);
                await cluster.WipeAndRejoinAsync(victim);
                return $"wipe-and-rejoin({victim})";
            case 5:
                await nemesis.AllLosePowerAsync();
                return nemesis.Story;
            case 20 or 21:
                bool ofLeader = prng.Chance(0.5);
                counts.Add(ofLeader ? "wall-clock-of-leader" : "wall-clock-of-follower");
                await ClockJump.RunAsync(cluster, calls, prng.Split(), ofLeader);
                return ofLeader ? "wall-clock-of-leader" : "wall-clock-of-follower";
            default:
                await nemesis.MixAsync();
                return nemesis.Story;
        }
    }

    /// <summary>Every lease that nobody renews comes to its end.</summary>
    private async Task LeasesEndAsync()
    {
        long begun = Stopwatch.GetTimestamp();
        await cluster.UntilAsync("leases end", async () =>
        {
            try
            {
                LeaseLeasesResponse left = await cluster.Members[0].Leases.LeaseLeasesAsync(new LeaseLeasesRequest(), TestCluster.Within(3));
                if (left.Leases.Count > 0 && Stopwatch.GetElapsedTime(begun) > LeaseWait)
                {
                    throw cluster.Fail($"{left.Leases.Count} leases live {LeaseWait.TotalSeconds} s after the last was renewed");
                }

                return left.Leases.Count == 0;
            }
            catch (Grpc.Core.RpcException)
            {
                return false;
            }
        });
    }

    private async Task<int> CheckAsync(long first, long last)
    {
        await SameContentAsync(last);
        IReadOnlyList<Change> timeline = await TimelineAsync(first);
        ILookup<long, Change> byRevision = timeline.ToLookup(static c => c.Revision);
        for (int i = 0; i < Watchers; i++)
        {
            Same(timeline, _watchers[i].Changes, $"watch {i}");
        }

        ForgetWhatDidNotHappen(timeline);
        HistoryCheck check = new(_history.Operations, first, last, r => [.. byRevision[r]], cluster.Fail);
        check.Run();
        CheckStaleReads(timeline);
        CheckLeases();
        return check.Undecided;
    }

    /// <summary>Same hash at the same revision everywhere.</summary>
    private async Task SameContentAsync(long revision)
    {
        string seen = "";
        await cluster.UntilAsync("all have the last revision", async () =>
        {
            List<string> hashes = [];
            foreach (Member member in cluster.Members)
            {
                try
                {
                    HashKVResponse hash = await member.Maintenance.HashKVAsync(new HashKVRequest { Revision = revision }, TestCluster.Within(5));
                    hashes.Add($"{hash.Hash:x8} compacted at {hash.CompactRevision}");
                }
                catch (Grpc.Core.RpcException)
                {
                    return false;
                }
            }

            seen = string.Join(", ", hashes);
            return hashes.Distinct().Count() == 1;
        });
        if (seen.Length == 0)
        {
            throw cluster.Fail("no hash was told");
        }
    }

    /// <summary>What every member says happened, from a watch of its own.</summary>
    private async Task<IReadOnlyList<Change>> TimelineAsync(long first)
    {
        using CancellationTokenSource late = new(TimeSpan.FromSeconds(60));
        Watcher[] readers = [.. cluster.Members.Select(_ => new Watcher(cluster, _history, first, prng.Split()))];
        await Task.WhenAll(readers.Select((r, i) => r.RunAsync(LastKey, i, late.Token)));
        foreach (Watcher reader in readers)
        {
            Same(readers[0].Changes, reader.Changes, "the history of another member");
        }

        return readers[0].Changes;
    }

    private void Same(IReadOnlyList<Change> all, IReadOnlyList<Change> seen, string who)
    {
        for (int i = 0; i < Math.Max(all.Count, seen.Count); i++)
        {
            Change? wanted = i < all.Count ? all[i] : null;
            Change? got = i < seen.Count ? seen[i] : null;
            if (wanted != got)
            {
                throw cluster.Fail($"{who} has {got} where {wanted} happened ({seen.Count} changes of {all.Count})");
            }
        }
    }

    /// <summary>Values are unique: a write without an answer whose value is nowhere has not happened, and cannot any more.</summary>
    private void ForgetWhatDidNotHappen(IReadOnlyList<Change> timeline)
    {
        HashSet<string?> written = [.. timeline.Select(static c => c.Value)];
        foreach (Operation operation in _history.Operations.Where(o => o is { State: OperationState.Unknown, Value: not null } && !written.Contains(o.Value)))
        {
            operation.Mark(OperationState.Refused, "no answer, and it did not happen");
        }
    }

    private void CheckStaleReads(IReadOnlyList<Change> timeline)
    {
        ILookup<string, Change> byKey = timeline.ToLookup(static c => c.Key);
        foreach (StaleRead read in _history.StaleReads)
        {
            string? then = byKey[read.Key].LastOrDefault(c => c.Revision <= read.Revision).Value;
            if (then != read.Found)
            {
                throw cluster.Fail($"at revision {read.Revision} {read.Key} was {then ?? "nothing"}, but {read}");
            }
        }
    }

    private void CheckLeases()
    {
        foreach ((string key, LeaseLife life) in _history.Leases.Where(static l => !l.Value.EndWanted))
        {
            foreach (Watcher watcher in _watchers)
            {
                if (watcher.Deletions.TryGetValue(key, out long heard) && heard < life.AliveUntil)
                {
                    throw cluster.Fail($"{key} ended {Stopwatch.GetElapsedTime(heard, life.AliveUntil).TotalMilliseconds:f0} ms before its lease did");
                }
            }
        }
    }

    private async Task CompactAsync(long revision) => await cluster.Members[0].Kv.CompactAsync(new CompactionRequest { Revision = revision }, TestCluster.Within(10));

    private static async Task<RangeResponse> RangeAsync(Member member, string key) =>
        await member.Kv.RangeAsync(new RangeRequest { Key = TestCluster.Bytes(key) }, TestCluster.Within(10));
}

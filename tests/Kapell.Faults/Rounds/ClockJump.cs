using System.Diagnostics;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Faults.Clients;
using Kapell.Faults.World;
using Kapell.Sim.Checks;
using Member = Kapell.Faults.World.Member;

namespace Kapell.Faults.Rounds;

/// <summary>
/// The wall clock of one member jumps by an hour, and back, under load. Nothing may come of it: the leader stays, the member writes, and a
/// lease ends neither early nor late while the clock is wrong. The round looks at all the others.
/// </summary>
internal static class ClockJump
{
    // A busy machine may cost a leader its place at any moment; that the clock did it shows by its happening every time.
    private const int TriesMax = 4;
    private const int TtlSeconds = 3;
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);
    private static readonly TimeSpan LateMax = TimeSpan.FromSeconds(8);

    public static async Task RunAsync(TestCluster cluster, StoreCalls calls, Prng prng, bool ofLeader)
    {
        for (int tries = 1; ; tries++)
        {
            ulong before = await TermAsync(cluster);
            int leader = await cluster.LeaderAsync();
            int member = ofLeader ? leader : (leader + prng.NextInt(1, cluster.Members.Count)) % cluster.Members.Count;
            foreach (TimeSpan offset in (TimeSpan[])[prng.Chance(0.5) ? Hour : -Hour, TimeSpan.Zero])
            {
                cluster.Members[member].SetWallClock(offset);
                await cluster.UntilAsync("who lives in another hour writes", async () =>
                    (await calls.PutAsync(member, $"{calls.History.Prefix}k0")).State == OperationState.Done);
                await LeaseEndsInTimeAsync(cluster, cluster.Members[member]);
            }

            ulong after = await TermAsync(cluster);
            if (after == before)
            {
                return;
            }

            if (tries == TriesMax)
            {
                throw cluster.Fail($"the term went from {before} to {after} when the clock of {cluster.Members[member].Name} jumped, {tries} times one after another");
            }
        }
    }

    private static async Task LeaseEndsInTimeAsync(TestCluster cluster, Member member)
    {
        Google.Protobuf.ByteString key = TestCluster.Bytes("wall-clock");
        long asked = 0;
        await cluster.UntilAsync("a lease is granted", () => SaysAsync(async () =>
        {
            asked = Stopwatch.GetTimestamp();
            long lease = (await member.Leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = TtlSeconds }, TestCluster.Within(3))).ID;
            await member.Kv.PutAsync(new PutRequest { Key = key, Lease = lease }, TestCluster.Within(3));
            return true;
        }));
        await cluster.UntilAsync("a lease ends", () => SaysAsync(async () =>
            (await member.Kv.RangeAsync(new RangeRequest { Key = key }, TestCluster.Within(3))).Count == 0));
        TimeSpan lived = Stopwatch.GetElapsedTime(asked);
        if (lived < TimeSpan.FromSeconds(TtlSeconds) || lived > TimeSpan.FromSeconds(TtlSeconds) + LateMax)
        {
            throw cluster.Fail($"a lease of {TtlSeconds} s lived {lived.TotalSeconds:f2} s while the wall clock of {member.Name} was {member.WallClockOffset.TotalSeconds} s off");
        }
    }

    // A call that fails is made again.
    private static async Task<bool> SaysAsync(Func<Task<bool>> call)
    {
        try
        {
            return await call();
        }
        catch (RpcException)
        {
            return false;
        }
    }

    private static async Task<ulong> TermAsync(TestCluster cluster)
    {
        StatusResponse? status = null;
        await cluster.UntilAsync("a leader says its term", async () =>
        {
            status = await TestCluster.StatusAsync(cluster.Members[await cluster.LeaderAsync()]);
            return status is not null;
        });
        return status!.RaftTerm;
    }
}

using System.Diagnostics;
using Kapell.Base;
using Kapell.Faults.Clients;
using Kapell.Faults.World;
using Kapell.Sim.Checks;

namespace Kapell.Faults.Rounds;

/// <summary>
/// The leader is killed while all else is well; writes are begun every ten milliseconds at the others. The time without writes is that
/// from the kill to the first answer to a write that was begun after it.
/// </summary>
internal static class LeaderKill
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan GiveUp = TimeSpan.FromSeconds(15);

    public static async Task<TimeSpan> RunAsync(TestCluster cluster, StoreCalls calls, Prng prng)
    {
        int leader = await cluster.LeaderAsync();
        int[] others = [.. Enumerable.Range(0, cluster.Members.Count).Where(i => i != leader)];
        long killed = Stopwatch.GetTimestamp();
        Task killing = Task.Run(cluster.Members[leader].Kill);
        List<Task<Operation>> writes = [];
        TimeSpan? gap = null;
        while (gap is null)
        {
            writes.Add(calls.PutAsync(others[prng.NextInt(0, others.Length)], $"{calls.History.Prefix}gap{writes.Count}"));
            await Task.Delay(Pace);
            if (writes.Where(static w => w.IsCompletedSuccessfully && w.Result.State == OperationState.Done).Select(static w => w.Result.Ended).Order().Cast<ulong?>().FirstOrDefault() is { } ended)
            {
                gap = Stopwatch.GetElapsedTime(killed, (long)ended);
            }
            else if (Stopwatch.GetElapsedTime(killed) > GiveUp)
            {
                throw cluster.Fail($"no write within {GiveUp.TotalSeconds} s after the leader {cluster.Members[leader].Name} was killed");
            }
        }

        await killing;
        await Task.Delay(prng.NextInt(0, 300));
        cluster.Start(leader);
        await Task.WhenAll(writes);
        await cluster.ServeAsync(leader);
        return gap.Value;
    }
}

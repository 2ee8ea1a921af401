using System.Diagnostics;
using Kapell.Base;
using Kapell.Faults.Clients;
using Kapell.Faults.World;
using Kapell.Sim.Checks;

namespace Kapell.Faults.Rounds;

/// <summary>
/// A minority is cut off: it refuses writes and linearizable reads and serves serializable ones, the majority goes on, and after the cut
/// the minority catches up.
/// </summary>
internal static class Minority
{
    // What was under way at the cut may still be answered; a leader that hears nothing steps down within an election timeout.
    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(3);

    public static async Task RunAsync(TestCluster cluster, StoreCalls calls, Prng prng, bool leaderInMinority)
    {
        int leader = await cluster.LeaderAsync();
        int[] others = [.. Enumerable.Range(0, cluster.Members.Count).Where(i => i != leader).OrderBy(_ => prng.NextUInt64())];
        int size = cluster.Members.Count - cluster.Majority;
        int[] minority = leaderInMinority ? [leader, .. others.Take(size - 1)] : [.. others.Take(size)];
        int[] majority = [.. Enumerable.Range(0, cluster.Members.Count).Except(minority)];
        cluster.Network.Cut(minority, majority);
        long cut = Stopwatch.GetTimestamp();
        await cluster.UntilAsync("the majority writes", async () => (await calls.PutAsync(
            majority[prng.NextInt(0, majority.Length)], $"{calls.History.Prefix}k0")).State == OperationState.Done);
        await Task.Delay(Settling - Stopwatch.GetElapsedTime(cut) is { } rest && rest > TimeSpan.Zero ? rest : TimeSpan.Zero);
        Operation[] asked = await Task.WhenAll(minority.SelectMany(m => (Task<Operation>[])
            [calls.PutAsync(m, $"{calls.History.Prefix}k1"), calls.GetAsync(m, $"{calls.History.Prefix}k2"), calls.DeleteAsync(m, $"{calls.History.Prefix}k3")]));
        if (asked.FirstOrDefault(static o => o.State == OperationState.Done) is { } answered)
        {
            throw cluster.Fail($"a member of a minority carried out {answered}");
        }

        foreach (int member in minority)
        {
            if (!await calls.LookAsync(member, $"{calls.History.Prefix}k2"))
            {
                throw cluster.Fail($"{cluster.Members[member].Name}, cut off with a minority, did not answer a serializable read");
            }
        }

        cluster.Network.Join();
    }
}

using System.Diagnostics;
using System.Globalization;
using Kapell.Base;
using Kapell.Faults.Rounds;
using Kapell.Faults.World;

namespace Kapell.Faults;

/// <summary>
/// Real faults: members as processes, broken in rounds; see tests/real-faults, which gives this program namespaces of its own. One line a
/// round, a summary, and exit code 0 when all promises held.
/// </summary>
internal static class Program
{
    public static async Task<int> Main(string[] args)
    {
        int rounds = Number(args, "--rounds", 10);
        int members = Number(args, "--members", 3);
        int seed = Number(args, "--seed", Environment.TickCount & 0xffff);
        int first = Number(args, "--first-round", 1);
        int gapMax = Number(args, "--gap-max", 2000);
        bool onlyKills = args.Contains("--leader-kills-only");
        bool onlyJumps = args.Contains("--wall-clock-jumps-only");
        string state = Path.Combine(Text(args, "--state") ?? Path.GetTempPath(), string.Create(CultureInfo.InvariantCulture, $"kapell-faults-{seed}-{Environment.TickCount64 & 0xffff:x4}"));
        Directory.CreateDirectory(state);
        FaultCounts counts = new();
        Console.WriteLine($"real faults: {members} members, {rounds} rounds, seed {seed}, state in {state}");
        long begun = Stopwatch.GetTimestamp();
        int done = 0;
        try
        {
            using TestCluster cluster = new(state, Text(args, "--control-group") ?? "kapell-faults", members, snapshotCount: 100);
            for (int i = 0; i < members; i++)
            {
                cluster.Members[i].Program = Text(args, "--program") ?? Programs.Kapell;
                cluster.Members[i].WallClocks = Text(args, "--wall-clocks");
                cluster.Start(i);
            }

            if (onlyJumps && !cluster.HasWallClocks)
            {
                throw new FaultsFailedException("jumps of wall clocks need --wall-clocks LIBRARY");
            }

            await cluster.AllServeAsync();
            for (int number = first; number < first + rounds; number++)
            {
                Prng prng = new((ulong)seed * 1_000_003 + (ulong)number);
                Console.WriteLine(await new Round(cluster, counts, number, prng) { OnlyKillsTheLeader = onlyKills, OnlyJumpsWallClocks = onlyJumps }.RunAsync());
                done++;
            }
        }
        catch (FaultsFailedException e)
        {
            Console.WriteLine($"not ok {first + done} seed {seed}: {e.Message}");
            Summarize(counts, done, begun, gapMax);
            Console.WriteLine($"kept {state}");
            return 1;
        }

        if (args.Contains("--keep"))
        {
            Console.WriteLine($"kept {state}");
        }
        else
        {
            Directory.Delete(state, recursive: true);
        }

        return Summarize(counts, done, begun, gapMax) ? 0 : 1;
    }

    private static bool Summarize(FaultCounts counts, int rounds, long begun, int gapMax)
    {
        IReadOnlyList<double> gaps = counts.LeaderGaps;
        bool quick = gaps.All(g => g < gapMax);
        Console.WriteLine($"{rounds} rounds in {Stopwatch.GetElapsedTime(begun).TotalSeconds:f0} s; {counts.Total} faults: {counts.Describe()}");
        Console.WriteLine($"{(quick ? "ok" : "not ok")} writes after a killed leader: {gaps.Count} times; median {counts.GapAt(0.5):f0} ms, p99 {counts.GapAt(0.99):f0} ms, "
            + $"longest {counts.GapAt(1):f0} ms; {gaps.Count(g => g >= gapMax)} took {gapMax} ms or more; "
            + $"load of the machine {File.ReadAllText("/proc/loadavg").Split(' ')[1]}");
        return quick;
    }

    private static string? Text(string[] args, string name) => Array.IndexOf(args, name) is >= 0 and int at && at + 1 < args.Length ? args[at + 1] : null;

    private static int Number(string[] args, string name, int usual) => Text(args, name) is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : usual;
}

using System.Globalization;
using System.Text;
using Kapell.Base;
using Kapell.Bench.Charts;

namespace Kapell.Bench.Suite;

/// <summary>Every operation on two stores in turn, started here with the same flags: a table with the ratios, and charts.</summary>
internal static class SuiteCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken cancellation)
    {
        FlagSet flags = new("Kapell.Bench suite", """
            Starts Kapell's store and etcd with the same flags, with one member and with three, and drives both in turn with each operation and
            number of clients. Prints a table of the median of the rounds; --out writes it and charts to a folder.
            """);
        FlagValue<string> ours = flags.String("kapell", "kapell etcd", "command of the one store");
        FlagValue<string> theirs = flags.String("etcd", "etcd", "command of the other");
        FlagValue<IReadOnlyList<string>> members = flags.List("members", ["1", "3"], "sizes of the cluster");
        FlagValue<IReadOnlyList<string>> clients = flags.List("clients", ["1", "100", "1000"], "operations at a time");
        FlagValue<IReadOnlyList<string>> scenarios = flags.List("scenarios", ["put", "range", "range-serial", "txn", "lease", "watch"], "operations, as of Kapell.Bench");
        FlagValue<int> rounds = flags.Int("rounds", 3, "runs of each, in turn");
        FlagValue<TimeSpan> duration = flags.Duration("duration", TimeSpan.FromSeconds(3), "length of a run");
        FlagValue<string> folder = flags.String("out", "", "folder for the table and the charts");
        flags.Examples.Add("Kapell.Bench suite --kapell \"./kapell etcd\" --etcd etcd --out docs/benchmarks");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        List<SuiteRow> rows = [];
        StringBuilder table = new(SuiteRow.Head);
        await output.WriteAsync(SuiteRow.Head);
        foreach (int size in members.Value.Select(static m => int.Parse(m, CultureInfo.InvariantCulture)))
        {
            string work = Directory.CreateTempSubdirectory("kapell-suite-").FullName;
            await using SuiteCluster a = await SuiteCluster.StartAsync("Kapell", ours.Value, [], size, Path.Combine(work, "a"), cancellation);
            await using SuiteCluster b = await SuiteCluster.StartAsync("etcd", theirs.Value, ["--log-level", "error"], size, Path.Combine(work, "b"), cancellation);
            foreach (string scenario in scenarios.Value)
            {
                foreach (string count in clients.Value)
                {
                    SuiteRow row = await MeasureAsync(a, b, size, scenario, count, rounds.Value, duration.Value, cancellation);
                    rows.Add(row);
                    table.Append(row.Line);
                    await output.WriteAsync(row.Line);
                }
            }
        }

        if (folder.Value.Length > 0)
        {
            Directory.CreateDirectory(folder.Value);
            await File.WriteAllTextAsync(Path.Combine(folder.Value, "store.md"), table.ToString(), cancellation);
            WriteCharts(folder.Value, rows);
        }

        return 0;
    }

    private static async Task<SuiteRow> MeasureAsync(
        SuiteCluster a, SuiteCluster b, int members, string scenario, string clients, int rounds, TimeSpan duration, CancellationToken cancellation)
    {
        List<RunResult> ours = [];
        List<RunResult> theirs = [];
        foreach ((SuiteCluster cluster, List<RunResult> results, bool warmUp) in Turns(a, b, ours, theirs, rounds))
        {
            BenchOptions options = new();
            options.Parse([scenario, "--target", cluster.Url, "--clients", clients, "--duration", GoDuration.Format(duration), "--keys", "10000", "--warm-up", "500ms"]);
            await using IScenario work = BenchCommand.Open(cluster.Url, options);
            await work.PrepareAsync(cancellation);
            Runner runner = new(options, work, cluster.Pids);
            await runner.WarmUpAsync(cancellation); // A thousand clients that begin at once are another load than a thousand that work.
            RunResult result = await runner.RunAsync(cancellation);
            if (!warmUp)
            {
                results.Add(result);
            }
        }

        return new SuiteRow(members, scenario, int.Parse(clients, CultureInfo.InvariantCulture), SuiteFigures.Of(ours), SuiteFigures.Of(theirs));
    }

    private static IEnumerable<(SuiteCluster Cluster, List<RunResult> Results, bool WarmUp)> Turns(
        SuiteCluster a, SuiteCluster b, List<RunResult> ours, List<RunResult> theirs, int rounds)
    {
        for (int round = 0; round <= rounds; round++)
        {
            yield return (a, ours, round == 0);
            yield return (b, theirs, round == 0);
        }
    }

    private static void WriteCharts(string folder, List<SuiteRow> rows)
    {
        foreach (IGrouping<int, SuiteRow> size in rows.GroupBy(static r => r.Members))
        {
            string who = size.Key == 1 ? "one member" : $"{size.Key} members";
            Save("cpu", $"CPU of {who} per operation", "µs", static f => f.CpuMicroseconds);
            Save("throughput", $"Operations a second, {who}", "1/s", static f => f.PerSecond);
            Save("p99", $"99th percentile of latency, {who}", "ms", static f => f.P99Milliseconds);

            void Save(string file, string title, string unit, Func<SuiteFigures, double> value) => new BarChart(title, unit)
            {
                Contenders = ["Kapell", "etcd"],
                Groups = [.. size.Where(static r => r.Clients > 1).Select(r => ($"{r.Scenario}\n{r.Clients} clients", (IReadOnlyList<double>)[value(r.Ours), value(r.Theirs)]))],
            }.Save(Path.Combine(folder, $"{file}-{size.Key}.svg"));
        }
    }
}

/// <summary>The median of the rounds; CPU of what is watched per event that a watcher was given, for a store may owe events at the end.</summary>
internal sealed record SuiteFigures(double CpuMicroseconds, double PerSecond, double P99Milliseconds)
{
    public static SuiteFigures Of(List<RunResult> results) => new(
        Median(results, static r => r.CpuMicrosecondsPerEvent ?? r.CpuMicrosecondsPerOperation ?? double.NaN), Median(results, static r => r.PerSecond),
        Median(results, static r => r.Latency.Quantile(0.99).TotalMilliseconds));

    private static double Median(List<RunResult> results, Func<RunResult, double> value)
    {
        double[] sorted = [.. results.Select(value).Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>One operation at one load: both stores and the ratios.</summary>
internal sealed record SuiteRow(int Members, string Scenario, int Clients, SuiteFigures Ours, SuiteFigures Theirs)
{
    public const string Head =
        "| members | operation | clients | CPU µs, Kapell / etcd | ratio | ops/s, Kapell / etcd | ratio | p99 ms, Kapell / etcd | ratio |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

    public string Line => string.Create(
        CultureInfo.InvariantCulture,
        $"| {Members} | {Scenario} | {Clients} | {Ours.CpuMicroseconds:F1} / {Theirs.CpuMicroseconds:F1} | {Ours.CpuMicroseconds / Theirs.CpuMicroseconds:F2} | {Ours.PerSecond:F0} / {Theirs.PerSecond:F0} | {Ours.PerSecond / Theirs.PerSecond:F2} | {Ours.P99Milliseconds:F1} / {Theirs.P99Milliseconds:F1} | {Ours.P99Milliseconds / Theirs.P99Milliseconds:F2} |\n");
}

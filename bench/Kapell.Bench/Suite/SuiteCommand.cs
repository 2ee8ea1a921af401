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
            number of clients. Prints a table of the median of the rounds; --out writes it and charts to a folder. With --benchmark the load
            comes from etcd's own tools/benchmark, with a connection for each client, but a hundred at most.
            """);
        FlagValue<string> ours = flags.String("kapell", "kapell etcd", "command of the one store");
        FlagValue<string> theirs = flags.String("etcd", "etcd", "command of the other");
        FlagValue<IReadOnlyList<string>> members = flags.List("members", ["1", "3"], "sizes of the cluster");
        FlagValue<IReadOnlyList<string>> clients = flags.List("clients", ["1", "100", "1000"], "operations at a time");
        FlagValue<IReadOnlyList<string>> scenarios = flags.List("scenarios", ["put", "range", "range-serial", "txn", "lease", "watch"], "operations, as of Kapell.Bench");
        FlagValue<int> rounds = flags.Int("rounds", 3, "runs of each, in turn");
        FlagValue<TimeSpan> duration = flags.Duration("duration", TimeSpan.FromSeconds(3), "length of a run");
        FlagValue<string> folder = flags.String("out", "", "folder for the table and the charts");
        FlagValue<string> benchmark = flags.String("benchmark", "", "file of etcd's own benchmark, to drive both; none: this program does");
        flags.Examples.Add("Kapell.Bench suite --benchmark ./benchmark --clients 100,1000 --scenarios put,range");
        flags.Examples.Add("Kapell.Bench suite --kapell \"./kapell etcd\" --etcd etcd --out docs/benchmarks");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            await output.WriteLineAsync(flags.Help());
            return 0;
        }

        if (benchmark.Value.Length > 0 && !File.Exists(benchmark.Value))
        {
            throw new FlagException($"--benchmark: there is no file {benchmark.Value}; build tools/benchmark of etcd's sources, or leave the flag out");
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
                    Load run = benchmark.Value.Length > 0
                        ? Theirs(new EtcdBenchmark(benchmark.Value), scenario, count, duration.Value, cancellation)
                        : Ours(scenario, count, duration.Value, cancellation);
                    (SuiteFigures kapell, SuiteFigures etcd) = await MeasureAsync(a, b, rounds.Value, run);
                    SuiteRow row = new(size, scenario, int.Parse(count, CultureInfo.InvariantCulture), kapell, etcd);
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

    /// <param name="last">What the run before gave; null for the first.</param>
    private delegate Task<SuiteFigures> Load(SuiteCluster cluster, SuiteFigures? last);

    /// <summary>In turn, after one run of each that does not count.</summary>
    private static async Task<(SuiteFigures A, SuiteFigures B)> MeasureAsync(SuiteCluster a, SuiteCluster b, int rounds, Load run)
    {
        (SuiteFigures ours, SuiteFigures theirs) = (await run(a, null), await run(b, null));
        (List<SuiteFigures> allOurs, List<SuiteFigures> allTheirs) = ([], []);
        for (int round = 0; round < rounds; round++)
        {
            allOurs.Add(ours = await run(a, ours));
            allTheirs.Add(theirs = await run(b, theirs));
        }

        return (SuiteFigures.Median(allOurs), SuiteFigures.Median(allTheirs));
    }

    private static Load Ours(string scenario, string clients, TimeSpan duration, CancellationToken cancellation) => async (cluster, _) =>
    {
        BenchOptions options = new();
        options.Parse([scenario, "--target", cluster.Url, "--clients", clients, "--duration", GoDuration.Format(duration), "--keys", "10000", "--warm-up", "500ms"]);
        await using IScenario work = BenchCommand.Open(cluster.Url, options);
        await work.PrepareAsync(cancellation);
        Runner runner = new(options, work, cluster.Pids);
        await runner.WarmUpAsync(cancellation); // A thousand clients that begin at once are another load than a thousand that work.
        return SuiteFigures.Of(await runner.RunAsync(cancellation));
    };

    private static Load Theirs(EtcdBenchmark benchmark, string scenario, string clients, TimeSpan duration, CancellationToken cancellation) =>
        (cluster, last) =>
        {
            int count = int.Parse(clients, CultureInfo.InvariantCulture);
            return benchmark.RunAsync(cluster, scenario, count, EtcdBenchmark.TotalFor(scenario, count, last, duration), cancellation);
        };

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

/// <summary>Of one run, or the median of several; CPU of what is watched per event that a watcher was given, for a store may owe events at the end.</summary>
internal sealed record SuiteFigures(double CpuMicroseconds, double PerSecond, double P99Milliseconds)
{
    public static SuiteFigures Of(RunResult run) => new(
        run.CpuMicrosecondsPerEvent ?? run.CpuMicrosecondsPerOperation ?? double.NaN, run.PerSecond, run.Latency.Quantile(0.99).TotalMilliseconds);

    public static SuiteFigures Median(List<SuiteFigures> runs) =>
        new(Median(runs, static r => r.CpuMicroseconds), Median(runs, static r => r.PerSecond), Median(runs, static r => r.P99Milliseconds));

    private static double Median(List<SuiteFigures> runs, Func<SuiteFigures, double> value)
    {
        double[] sorted = [.. runs.Select(value).Order()];
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
        $"| {Members} | {Scenario} | {Clients} | {Ours.CpuMicroseconds:F1} / {Theirs.CpuMicroseconds:F1} | {Ours.CpuMicroseconds / Theirs.CpuMicroseconds:F2} | {Ours.PerSecond:F0} / {Theirs.PerSecond:F0} | {Ours.PerSecond / Theirs.PerSecond:F2} | {Latencies} |\n");

    private string Latencies => double.IsNaN(Ours.P99Milliseconds) ? "- | -" : string.Create(
        CultureInfo.InvariantCulture,
        $"{Ours.P99Milliseconds:F1} / {Theirs.P99Milliseconds:F1} | {Ours.P99Milliseconds / Theirs.P99Milliseconds:F2}");
}

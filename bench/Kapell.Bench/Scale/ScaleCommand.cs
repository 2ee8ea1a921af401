using System.Diagnostics;
using System.Globalization;
using Kapell.Base;
using Kapell.Bench.Charts;

namespace Kapell.Bench.Scale;

/// <summary>Growth of cost and memory with the number of keys, then a steady load on the full store.</summary>
internal static class ScaleCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output, CancellationToken cancellation)
    {
        ScaleOptions options = new();
        if (!options.Parse(args))
        {
            await output.WriteLineAsync(options.Help);
            return 0;
        }

        using ScaleLoad load = await ScaleLoad.ConnectAsync(options, cancellation);
        List<SizeCost> costs = [];
        long filled = 0;
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture, $"{"keys",10} {"fill s",8} {"put us",8} {"range us",9} {"rss MB",8} {"x data",7}"));
        foreach (long size in options.Steps)
        {
            long start = Stopwatch.GetTimestamp();
            if (options.Fill.Value)
            {
                await load.FillAsync(filled, size, cancellation);
            }

            filled = size;
            TimeSpan fill = Stopwatch.GetElapsedTime(start);
            await load.CompactAsync(cancellation);
            await SettleAsync(options, cancellation);
            double put = await CostAsync(options, size, load.PutAsync, cancellation);
            double range = await CostAsync(options, size, load.RangeAsync, cancellation);
            await load.CompactAsync(cancellation);
            long resident = ServerProcess.Sample(options.ServerPid.Value)?.ResidentBytes ?? 0;
            double data = (double)size * (options.KeySize.Value + options.ValueSize.Value);
            costs.Add(new SizeCost(size, put, range));
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"{size,10} {fill.TotalSeconds,8:F1} {put,8:F1} {range,9:F1} {resident / 1e6,8:F0} {resident / data,7:F2}"));
        }

        if (options.Chart.Value.Length > 0)
        {
            WriteChart(options.Chart.Value, costs);
            await output.WriteLineAsync($"chart: {options.Chart.Value}");
        }

        if (options.Duration.Value > TimeSpan.Zero)
        {
            await SteadyAsync(options, load, filled, output, cancellation);
        }

        return 0;
    }

    /// <summary>Until the server has done what the filling left behind: a cost measured meanwhile would be its as well.</summary>
    private static async Task SettleAsync(ScaleOptions options, CancellationToken cancellation)
    {
        for (int i = 0; i < 120; i++)
        {
            TimeSpan? before = ServerProcess.Sample(options.ServerPid.Value)?.Cpu;
            await Task.Delay(1000, cancellation);
            TimeSpan? after = ServerProcess.Sample(options.ServerPid.Value)?.Cpu;
            if (after is null || after - before < TimeSpan.FromMilliseconds(30))
            {
                return;
            }
        }
    }

    /// <summary>CPU microseconds of the server per operation, closed loop over random keys.</summary>
    private static async Task<double> CostAsync(
        ScaleOptions options, long keys, Func<int, long, CancellationToken, Task> operation, CancellationToken cancellation)
    {
        long operations = 0;
        ServerUsage? before = ServerProcess.Sample(options.ServerPid.Value);
        long begin = Stopwatch.GetTimestamp();
        async Task ClientAsync(int client)
        {
            Prng prng = new((ulong)client + 100);
            while (Stopwatch.GetElapsedTime(begin) < options.Step.Value)
            {
                await operation(client, (long)prng.NextBelow((ulong)keys), cancellation);
                Interlocked.Increment(ref operations);
            }
        }

        await Task.WhenAll(Enumerable.Range(0, options.Clients.Value).Select(c => Task.Run(() => ClientAsync(c), cancellation)));
        TimeSpan? cpu = ServerProcess.Sample(options.ServerPid.Value)?.Cpu - before?.Cpu;
        return cpu is { } spent ? spent.TotalMicroseconds / operations : double.NaN;
    }

    private static async Task SteadyAsync(
        ScaleOptions options, ScaleLoad load, long keys, TextWriter output, CancellationToken cancellation)
    {
        LatencyRecorder latency = new();
        LatencyRecorder lateness = new();
        using DiskWitness? disk = options.DiskWitness.Value.Length > 0 ? new DiskWitness(options.DiskWitness.Value) : null;
        using Witnesses witnesses = new(disk);
        await using TargetTimes target = new(options.Target.Value, options.ServerPid.Value);
        Stalls stalls = new(Stopwatch.GetTimestamp(), witnesses, target);
        using CancellationTokenSource compacting = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        int compactions = 0;
        async Task CompactAsync()
        {
            try
            {
                while (true)
                {
                    await Task.Delay(options.CompactEvery.Value, compacting.Token);
                    long asked = Stopwatch.GetTimestamp();
                    await load.CompactAsync(compacting.Token);
                    stalls.Compacted(asked);
                    compactions++;
                }
            }
            catch (Exception e) when (e is OperationCanceledException or Grpc.Core.RpcException && compacting.IsCancellationRequested)
            {
                // The load is over.
            }
        }

        Task compactor = CompactAsync();
        await load.SteadyAsync(options.Rate.Value, options.Duration.Value, keys, latency, lateness, stalls, cancellation);
        await compacting.CancelAsync();
        await compactor;
        long resident = ServerProcess.Sample(options.ServerPid.Value)?.ResidentBytes ?? 0;
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"\n{latency.Total()} puts at {options.Rate.Value}/s in {options.Duration.Value.TotalSeconds:F0} s, {compactions} compactions, rss {resident / 1e6:F0} MB"));
        await latency.WriteAsync(output);
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture,
            $"  sent late by the generator itself: p99 {lateness.Quantile(0.99).TotalMilliseconds:F2}, p99.9 {lateness.Quantile(0.999).TotalMilliseconds:F2}, longest {lateness.Max.TotalMilliseconds:F2} ms"));
        await stalls.WriteAsync(output);
    }

    private static void WriteChart(string file, List<SizeCost> costs)
    {
        LineChart chart = new("CPU of the server per operation by keys in the store", "keys", "µs of CPU per operation")
        {
            Series =
            [
                new Series("put", [.. costs.Select(c => ((double)c.Keys, c.PutMicroseconds))]),
                new Series("range, linearizable", [.. costs.Select(c => ((double)c.Keys, c.RangeMicroseconds))]),
            ],
        };
        chart.Save(file);
    }

    private sealed record SizeCost(long Keys, double PutMicroseconds, double RangeMicroseconds);
}

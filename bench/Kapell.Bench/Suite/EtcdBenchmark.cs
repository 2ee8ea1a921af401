using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Google.Protobuf;
using Grpc.Net.Client;
using Kapell.Base;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Suite;

/// <summary>
/// etcd's own load generator (tools/benchmark of its repository) as a child, with as many connections as its documentation has: one for each
/// client, but not over a hundred. A run is a number of operations, not a time of them; what the connections cost the server counts too.
/// </summary>
/// <param name="program">Its file.</param>
internal sealed partial class EtcdBenchmark(string program)
{
    private const int ConnectionsMax = 100; // etcd's docs, op-guide/performance.md: --conns=100 --clients=1000
    private const int WatchedStreams = 100;

    // Without a rate, its own limit of puts is zero, at which newer versions of the library that keeps it panic.
    private const string NoLimit = "1000000";

    private static readonly string[] Puts = ["--key-size", "64", "--val-size", "256", "--key-space-size", "10000"];
    private static readonly string RangedKey = new('k', 64);

    /// <summary>As many operations as take about this time, going by the last run; a number to begin with when there was none.</summary>
    public static long TotalFor(string scenario, int clients, SuiteFigures? last, TimeSpan duration)
    {
        long first = clients == 1 ? 1000 : 10_000;
        double puts = (last?.PerSecond ?? 0) / (scenario == "watch" ? WatchedStreams : 1);
        return Math.Max(scenario == "watch" ? first / 5 : first, (long)(puts * duration.TotalSeconds));
    }

    /// <exception cref="IOException">It failed, or printed nothing of what it measured.</exception>
    /// <exception cref="FlagException">It has no such scenario.</exception>
    public async Task<SuiteFigures> RunAsync(SuiteCluster cluster, string scenario, int clients, long total, CancellationToken cancellation)
    {
        using (GrpcChannel channel = GrpcChannel.ForAddress(cluster.Url))
        {
            PutRequest ranged = new() { Key = ByteString.CopyFromUtf8(RangedKey), Value = ByteString.CopyFrom(new byte[256]) };
            await new KV.KVClient(channel).PutAsync(ranged, cancellationToken: cancellation);
        }

        string[] common = ["--endpoints", cluster.Url["http://".Length..], "--clients", Text(clients), "--conns", Text(Math.Min(clients, ConnectionsMax)), "--precise"];
        TimeSpan before = ServerProcess.Sample(cluster.Pids)!.Value.Cpu;
        string output = await PrintedAsync([.. Arguments(scenario, Text(total)), .. common], cancellation);
        TimeSpan used = ServerProcess.Sample(cluster.Pids)!.Value.Cpu - before;
        long operations = scenario == "watch" ? total * WatchedStreams : total;

        // Of watch it prints how long after one event the next came.
        double p99 = scenario == "watch" ? double.NaN : Last(Percentile(), output) * 1000;
        return new SuiteFigures(used.TotalMicroseconds / operations, Last(PerSecond(), output), p99);
    }

    private static string[] Arguments(string scenario, string total) => scenario switch
    {
        "put" => ["put", "--total", total, .. Puts],
        "txn" => ["txn-put", "--total", total, .. Puts],
        "range" => ["range", RangedKey, "--consistency", "l", "--total", total],
        "range-serial" => ["range", RangedKey, "--consistency", "s", "--total", total],
        "lease" => ["lease-keepalive", "--total", total],
        "watch" => ["watch", "--streams", "100", "--watch-per-stream", "1", "--key-size", "64", "--put-rate", NoLimit, "--put-total", total],
        _ => throw new FlagException($"--scenarios: etcd's benchmark has nothing for \"{scenario}\"; it has put, range, range-serial, txn, lease and watch"),
    };

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    // The last one printed: watch tells of making the watches first.
    private static double Last(Regex figure, string output) => figure.Matches(output) is [.., { } last]
        ? double.Parse(last.Groups[1].Value, CultureInfo.InvariantCulture)
        : throw new IOException($"etcd's benchmark printed no {figure}:\n{output}");

    [GeneratedRegex(@"Requests/sec:\s+([0-9.e+-]+)", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex PerSecond();

    [GeneratedRegex(@"99% in ([0-9.e+-]+) secs", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex Percentile();

    private async Task<string> PrintedAsync(string[] arguments, CancellationToken cancellation)
    {
        using Process child = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })
            ?? throw new IOException($"{program} cannot be started");
        try
        {
            child.ErrorDataReceived += static (_, _) => { }; // Thousands of lines about its connections.
            child.BeginErrorReadLine();
            string output = await child.StandardOutput.ReadToEndAsync(cancellation);
            await child.WaitForExitAsync(cancellation);
            return child.ExitCode == 0 ? output : throw new IOException($"{program} {string.Join(' ', arguments)} ended with {child.ExitCode}");
        }
        catch (OperationCanceledException)
        {
            child.Kill();
            throw;
        }
    }
}

using System.Diagnostics;

namespace Kapell.Bench;

/// <summary>One measured run.</summary>
/// <param name="Events">That watchers were given while it went on; a server may owe them more at its end.</param>
internal sealed record RunResult(
    long Operations, long Errors, string FirstError, TimeSpan Elapsed, LatencyRecorder Latency, LatencyRecorder? Deliveries,
    long Events, TimeSpan? ServerCpu, long ServerResidentBytes)
{
    public double PerSecond => Operations / Elapsed.TotalSeconds;

    public double? CpuMicrosecondsPerOperation => ServerCpu is { } cpu && Operations > 0 ? cpu.TotalMicroseconds / Operations : null;

    /// <summary>Null for what has no watchers.</summary>
    public double? CpuMicrosecondsPerEvent => ServerCpu is { } cpu && Events > 0 ? cpu.TotalMicroseconds / Events : null;
}

/// <summary>A closed loop: each client begins its next operation when the last one is answered.</summary>
/// <param name="pids">The processes whose CPU and memory count, all together; none: not measured.</param>
internal sealed class Runner(BenchOptions options, IScenario scenario, IReadOnlyList<int> pids)
{
    private long _next;

    public async Task WarmUpAsync(CancellationToken cancellation)
    {
        if (options.WarmUp.Value > TimeSpan.Zero)
        {
            LatencyRecorder latency = new();
            (long errors, string firstError) = await LoadAsync(latency, 0, options.WarmUp.Value, cancellation);
            if (errors > 0 && latency.Total() == 0)
            {
                // A target that answers nothing right is not worth measuring.
                throw new HttpRequestException(firstError);
            }
        }
    }

    public async Task<RunResult> RunAsync(CancellationToken cancellation)
    {
        scenario.Deliveries?.Reset();
        LatencyRecorder latency = new();
        ServerUsage? before = ServerProcess.Sample(pids);
        long start = Stopwatch.GetTimestamp();
        (long errors, string firstError) = await LoadAsync(latency, options.Total.Value, options.Duration.Value, cancellation);
        TimeSpan elapsed = Stopwatch.GetElapsedTime(start);
        ServerUsage? after = ServerProcess.Sample(pids);
        long events = scenario.Deliveries?.Total() ?? 0;
        return new RunResult(
            latency.Total(), errors, firstError, elapsed, latency, scenario.Deliveries, events,
            after?.Cpu - before?.Cpu, after?.ResidentBytes ?? 0);
    }

    private async Task<(long Errors, string First)> LoadAsync(
        LatencyRecorder latency, long total, TimeSpan duration, CancellationToken cancellation)
    {
        long begin = Stopwatch.GetTimestamp();
        long first = Interlocked.Read(ref _next);
        long errors = 0;
        string firstError = "";
        async Task ClientAsync(int client)
        {
            while (total > 0 || Stopwatch.GetElapsedTime(begin) < duration)
            {
                long number = Interlocked.Increment(ref _next) - 1;
                if (total > 0 && number - first >= total)
                {
                    return;
                }

                long start = Stopwatch.GetTimestamp();
                try
                {
                    await scenario.RunAsync(client, number, cancellation);
                    latency.Record(start);
                }
                catch (Exception e) when (e is Grpc.Core.RpcException or HttpRequestException or Machinery.StatusException)
                {
                    cancellation.ThrowIfCancellationRequested();
                    if (Interlocked.Increment(ref errors) == 1)
                    {
                        firstError = e.Message;
                    }

                    // A target that is down must not be asked a million times a second.
                    await Task.Delay(10, cancellation);
                }
            }
        }

        await Task.WhenAll(Enumerable.Range(0, options.Clients.Value).Select(c => Task.Run(() => ClientAsync(c), cancellation)));
        return (errors, firstError);
    }
}

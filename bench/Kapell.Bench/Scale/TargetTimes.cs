using System.Diagnostics;
using System.Globalization;

namespace Kapell.Bench.Scale;

/// <summary>
/// Asks the target each second, in /metrics, what it has waited for since: for flushes of its write-ahead log, by the histogram that etcd has too
/// (no put is answered before its flush, so a stall beside a flush that took as long is the disk's), and for the collector of .NET's memory.
/// </summary>
internal sealed class TargetTimes : IAsyncDisposable
{
    private const string Metric = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";
    private const string Collecting = "dotnet_gc_pause_seconds_total ";
    private const string Full = "dotnet_gc_collections_total{generation=\"2\"} ";
    private const string Everything = "+Inf";

    private static readonly TimeSpan Pace = TimeSpan.FromSeconds(1);

    private readonly HttpClient _http;
    private readonly ThreadTimes _threads;
    private readonly List<Told> _told = []; // In order; guarded by itself.
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _asking;

    public TargetTimes(string target, int process)
    {
        _threads = new ThreadTimes(process);
        _http = new HttpClient { BaseAddress = new Uri(target), Timeout = TimeSpan.FromSeconds(5) };
        _asking = Task.Run(AskAsync);
    }

    /// <summary>Of the seconds in which a time, in timestamps, lies.</summary>
    public TargetTold Of(long from, long to)
    {
        lock (_told)
        {
            Told[] within = [.. _told.Where(l => l.To >= from && l.From <= to)];
            return new TargetTold(within.Max(static t => t.Flush), within.Any(static t => t.Collector is not null) ? new TimeSpan(within.Sum(static t => t.Collector?.Ticks ?? 0)) : null, within.Sum(static t => t.Full), within.MaxBy(static t => t.Busiest?.Ran)?.Busiest);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _asking;
        _stop.Dispose();
        _http.Dispose();
    }

    private async Task AskAsync()
    {
        long askedBefore = 0;
        List<(TimeSpan Bound, long Count)> flushed = [];
        TimeSpan? collected = null;
        long fullBefore = 0;
        try
        {
            while (true)
            {
                long asked = Stopwatch.GetTimestamp();
                (TimeSpan, TimeSpan)? busiest = _threads.Busiest();
                List<string> now = await LinesAsync();
                List<(TimeSpan Bound, long Count)> flushes = Buckets(now);
                TimeSpan? collecting = Number(now, Collecting) is { } seconds ? TimeSpan.FromSeconds(seconds) : null;
                long full = (long)(Number(now, Full) ?? 0);
                if (askedBefore > 0)
                {
                    Told told = new(askedBefore, Stopwatch.GetTimestamp(), Longest(flushed, flushes), collecting - collected, full - fullBefore, busiest);
                    lock (_told)
                    {
                        _told.Add(told);
                    }
                }

                (askedBefore, flushed, collected, fullBefore) = (asked, flushes, collecting, full);
                await Task.Delay(Pace, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The load is over.
        }
        catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
        {
            // A target without /metrics: what follows is told as unknown.
        }
    }

    // Only what is looked at, and never the whole page as one string: that would be collected with all that is old, and hold up the load.
    private async Task<List<string>> LinesAsync()
    {
        using StreamReader page = new(await _http.GetStreamAsync("/metrics", _stop.Token));
        List<string> lines = [];
        while (await page.ReadLineAsync(_stop.Token) is { } line)
        {
            if (line.StartsWith(Metric, StringComparison.Ordinal) || line.StartsWith(Collecting, StringComparison.Ordinal) || line.StartsWith(Full, StringComparison.Ordinal))
            {
                lines.Add(line);
            }
        }

        return lines;
    }

    // Each bucket counts all below its bound: the first that has grown by as much as the last holds the longest.
    private static TimeSpan? Longest(List<(TimeSpan Bound, long Count)> before, List<(TimeSpan Bound, long Count)> now)
    {
        if (now.Count == 0 || before.Count != now.Count)
        {
            return null;
        }

        long all = now[^1].Count - before[^1].Count;
        int last = Enumerable.Range(0, now.Count).First(i => now[i].Count - before[i].Count == all);
        return all == 0 ? TimeSpan.Zero : now[last].Bound;
    }

    private static double? Number(List<string> metrics, string name) =>
        metrics.Find(l => l.StartsWith(name, StringComparison.Ordinal)) is { } line ? double.Parse(line[name.Length..], CultureInfo.InvariantCulture) : null;

    private static List<(TimeSpan Bound, long Count)> Buckets(List<string> metrics)
    {
        List<(TimeSpan, long)> buckets = [];
        foreach (string line in metrics.Where(static l => l.StartsWith(Metric, StringComparison.Ordinal)))
        {
            string[] parts = line[Metric.Length..].Split("\"} ");
            TimeSpan bound = parts[0] == Everything ? TimeSpan.MaxValue : TimeSpan.FromSeconds(double.Parse(parts[0], CultureInfo.InvariantCulture));
            buckets.Add((bound, (long)double.Parse(parts[1], CultureInfo.InvariantCulture)));
        }

        return buckets;
    }

    private sealed record Told(long From, long To, TimeSpan? Flush, TimeSpan? Collector, long Full, (TimeSpan Ran, TimeSpan Waited)? Busiest);
}

/// <summary>What a target did in some seconds; null: it did not tell.</summary>
/// <param name="Flush">The bound of the histogram that the longest flush did not pass.</param>
/// <param name="Collector">For how long all stood still for it.</param>
/// <param name="Full">Collections of all generations.</param>
/// <param name="Busiest">Of the thread that ran most in one of the seconds: for how long it ran, and was ready to and did not.</param>
internal readonly record struct TargetTold(TimeSpan? Flush, TimeSpan? Collector, long Full, (TimeSpan Ran, TimeSpan Waited)? Busiest);

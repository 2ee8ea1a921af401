using System.Diagnostics;
using System.Globalization;

namespace Kapell.Bench.Scale;

/// <summary>
/// Asks the target each second what flushes of its write-ahead log took since, by the histogram that etcd has in /metrics: no put is answered
/// before its flush, so a stall beside a flush that took as long is the disk's.
/// </summary>
internal sealed class Flushes : IAsyncDisposable
{
    private const string Metric = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";
    private const string Everything = "+Inf";

    private static readonly TimeSpan Pace = TimeSpan.FromSeconds(1);

    private readonly HttpClient _http;
    private readonly List<(long From, long To, TimeSpan AtMost)> _longest = []; // In order; guarded by itself.
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _asking;

    public Flushes(string target)
    {
        _http = new HttpClient { BaseAddress = new Uri(target), Timeout = TimeSpan.FromSeconds(5) };
        _asking = Task.Run(AskAsync);
    }

    /// <summary>The bound of the histogram that the longest flush of a time, in timestamps, did not pass; null when the target did not tell.</summary>
    public TimeSpan? AtMost(long from, long to)
    {
        lock (_longest)
        {
            TimeSpan[] within = [.. _longest.Where(l => l.To >= from && l.From <= to).Select(static l => l.AtMost)];
            return within.Length == 0 ? null : within.Max();
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
        List<(TimeSpan Bound, long Count)> before = [];
        try
        {
            while (true)
            {
                long asked = Stopwatch.GetTimestamp();
                List<(TimeSpan Bound, long Count)> now = Parse(await _http.GetStringAsync("/metrics", _stop.Token));
                if (before.Count == now.Count && before.Count > 0)
                {
                    Note(askedBefore, Stopwatch.GetTimestamp(), Longest(before, now));
                }

                (askedBefore, before) = (asked, now);
                await Task.Delay(Pace, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // The load is over.
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            // A target without /metrics: what follows is told as unknown.
        }
    }

    private void Note(long from, long to, TimeSpan atMost)
    {
        lock (_longest)
        {
            _longest.Add((from, to, atMost));
        }
    }

    // Each bucket counts all below its bound: the first that has grown by as much as the last holds the longest.
    private static TimeSpan Longest(List<(TimeSpan Bound, long Count)> before, List<(TimeSpan Bound, long Count)> now)
    {
        long all = now[^1].Count - before[^1].Count;
        int last = Enumerable.Range(0, now.Count).First(i => now[i].Count - before[i].Count == all);
        return all == 0 ? TimeSpan.Zero : now[last].Bound;
    }

    private static List<(TimeSpan Bound, long Count)> Parse(string metrics)
    {
        List<(TimeSpan, long)> buckets = [];
        foreach (string line in metrics.Split('\n').Where(static l => l.StartsWith(Metric, StringComparison.Ordinal)))
        {
            string[] parts = line[Metric.Length..].Split("\"} ");
            TimeSpan bound = parts[0] == Everything ? TimeSpan.MaxValue : TimeSpan.FromSeconds(double.Parse(parts[0], CultureInfo.InvariantCulture));
            buckets.Add((bound, (long)double.Parse(parts[1], CultureInfo.InvariantCulture)));
        }

        return buckets;
    }
}

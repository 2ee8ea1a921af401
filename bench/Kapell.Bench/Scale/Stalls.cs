using System.Diagnostics;
using System.Globalization;

namespace Kapell.Bench.Scale;

/// <summary>
/// When during a steady load puts were slow, and what else was late then: if the generator's own thread was, the machine stood still, or had
/// more to do than processors; if not, the server did. What witnesses saw of the machine is told beside it, and what is left of a put without that.
/// </summary>
internal sealed class Stalls(long begin, Witnesses witnesses, TargetTimes target)
{
    private const int Shown = 10;
    private const int KeptMax = 100_000;
    private static readonly TimeSpan Kept = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Slow = TimeSpan.FromMilliseconds(20);

    /// <summary>Slow puts that were due this close to one another belong to one stall.</summary>
    private static readonly TimeSpan Apart = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan PauseSeenWithin = TimeSpan.FromMilliseconds(5);

    private static readonly TimeSpan VerySlow = TimeSpan.FromMilliseconds(50);

    private readonly List<(TimeSpan Due, TimeSpan Took, TimeSpan SentLate)> _slow = []; // Guarded by itself.
    private readonly List<(TimeSpan At, TimeSpan Took)> _pauses = []; // Of the generator; guarded by _slow.
    private readonly List<(TimeSpan From, TimeSpan To)> _compactions = []; // Guarded by _slow.

    /// <summary>A put is answered. From any thread.</summary>
    public void Answered(long dueAt, TimeSpan sentLate)
    {
        TimeSpan took = Stopwatch.GetElapsedTime(dueAt);
        if (took < Kept)
        {
            return;
        }

        lock (_slow)
        {
            if (_slow.Count < KeptMax)
            {
                _slow.Add((Stopwatch.GetElapsedTime(begin, dueAt), took, sentLate));
            }
        }
    }

    /// <summary>All of the generator stood still for its own collector.</summary>
    public void Paused(TimeSpan took)
    {
        lock (_slow)
        {
            _pauses.Add((Stopwatch.GetElapsedTime(begin), took));
        }
    }

    /// <summary>A compaction was asked for then, and is answered.</summary>
    public void Compacted(long from)
    {
        lock (_slow)
        {
            _compactions.Add((Stopwatch.GetElapsedTime(begin, from), Stopwatch.GetElapsedTime(begin)));
        }
    }

    /// <summary>The longest, a line each.</summary>
    public async Task WriteAsync(TextWriter output)
    {
        (List<Stall> stalls, (TimeSpan From, TimeSpan To)[] compactions) = Gather();
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture, $"  stalls with puts over {Slow.TotalMilliseconds:F0} ms: {stalls.Count}{(stalls.Count > 0 ? "; the longest, with how late the generator's own thread was, and what time a processor did not give, and the flushes of the log and the collector in these seconds:" : "")}"));
        DateTime began = DateTime.UtcNow - Stopwatch.GetElapsedTime(begin);
        foreach (Stall stall in stalls.OrderByDescending(static s => s.Longest).Take(Shown))
        {
            (TimeSpan From, TimeSpan To)? before = compactions.LastOrDefault(c => c.From <= stall.At) is { To.Ticks: > 0 } last ? last : null;
            string compaction = before is { } b ? string.Create(CultureInfo.InvariantCulture, $", {(stall.At - b.From).TotalSeconds:F1} s after a compaction was asked for") : "";
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"    at {stall.At.TotalSeconds,7:F2} s ({began + stall.At:HH:mm:ss.fff}): {stall.Puts,4} puts, longest {stall.Longest.TotalMilliseconds,6:F1} ms, generator late {stall.SentLate.TotalMilliseconds,6:F1} ms, machine {Missing(stall).TotalMilliseconds,6:F1} ms, {Told(stall)}{compaction}"));
        }

        (int gaps, TimeSpan longestGap, TimeSpan slow) = witnesses.Gaps;
        await output.WriteLineAsync(string.Create(
            CultureInfo.InvariantCulture, $"  the machine: a thread on each processor that only sleeps was kept waiting {gaps} times for over 5 ms, at the longest {longestGap.TotalMilliseconds:F1} ms; its reads of memory took five times as long, or more, for {slow.TotalMilliseconds:F0} ms, all processors together; it gave {witnesses.Stolen.TotalMilliseconds:F0} ms of them to others"));
        if (witnesses.Disk?.Flushes is { } flushes)
        {
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"  the disk, for another who writes and flushes a little: {flushes.Total()} times, p50 {flushes.Quantile(0.5).TotalMilliseconds:F2}, p99 {flushes.Quantile(0.99).TotalMilliseconds:F2}, p99.9 {flushes.Quantile(0.999).TotalMilliseconds:F2}, longest {flushes.Max.TotalMilliseconds:F1} ms"));
        }

        if (Left() is { Length: > 0 } left)
        {
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"  without that {left.Count(static t => t > Kept)} puts took over {Kept.TotalMilliseconds:F0} ms, {left.Count(static t => t > VerySlow)} over {VerySlow.TotalMilliseconds:F0} ms, the longest {left.Max().TotalMilliseconds:F1} ms"));
        }
    }

    private (List<Stall> Stalls, (TimeSpan From, TimeSpan To)[] Compactions) Gather()
    {
        List<Stall> stalls = [];
        lock (_slow)
        {
            TimeSpan lastDue = TimeSpan.MinValue;
            foreach ((TimeSpan due, TimeSpan took, TimeSpan sentLate) in _slow.Where(static s => s.Took >= Slow).OrderBy(static s => s.Due))
            {
                if (stalls.Count == 0 || due - lastDue > Apart)
                {
                    stalls.Add(new Stall(due, 0, default, default, default));
                }

                Stall stall = stalls[^1];
                stalls[^1] = new Stall(stall.At, stall.Puts + 1, Max(stall.Longest, took), Max(stall.SentLate, sentLate), Max(stall.End, due + took));
                lastDue = due;
            }

            return (stalls, [.. _compactions]);
        }
    }

    /// <summary>What of each slow put's time no processor was away for.</summary>
    private TimeSpan[] Left()
    {
        lock (_slow)
        {
            return [.. _slow.Select(s => s.Took - witnesses.Missing(At(s.Due), At(s.Due + s.Took)))];
        }
    }

    private TimeSpan Paused(Stall stall)
    {
        lock (_slow)
        {
            return new TimeSpan(_pauses.Where(p => p.At >= stall.At && p.At <= stall.End + PauseSeenWithin).Sum(static p => p.Took.Ticks));
        }
    }

    private TimeSpan Missing(Stall stall) => witnesses.Missing(At(stall.At), At(stall.End));

    private string Told(Stall stall)
    {
        TargetTold told = target.Of(At(stall.At), At(stall.End));
        string text = told.Flush switch
        {
            null => "flushes not told",
            { Ticks: long.MaxValue } => "a flush longer than the histogram tells",
            { } atMost => string.Create(CultureInfo.InvariantCulture, $"flushes of up to {atMost.TotalMilliseconds:F0} ms"),
        };
        text += told.Collector is { } still
            ? string.Create(CultureInfo.InvariantCulture, $", collector {still.TotalMilliseconds:F1} ms{(told.Full > 0 ? $" ({told.Full} of all generations)" : "")}")
            : "";
        text += told.Busiest is { } busiest
            ? string.Create(CultureInfo.InvariantCulture, $", its busiest thread ran {busiest.Ran.TotalMilliseconds:F0} and waited {busiest.Waited.TotalMilliseconds:F0} ms")
            : "";
        return text + string.Create(CultureInfo.InvariantCulture, $", generator's collector {Paused(stall).TotalMilliseconds:F1} ms");
    }

    private long At(TimeSpan since) => begin + (long)(since.TotalSeconds * Stopwatch.Frequency);

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;

    private readonly record struct Stall(TimeSpan At, int Puts, TimeSpan Longest, TimeSpan SentLate, TimeSpan End);
}

using System.Diagnostics;
using System.Globalization;

namespace Kapell.Bench.Scale;

/// <summary>
/// When during a steady load puts were slow, and what else was late then: if the generator's own thread was, the machine stood still, or had
/// more to do than processors; if not, the server did.
/// </summary>
internal sealed class Stalls(long begin)
{
    private const int Shown = 10;
    private const int KeptMax = 100_000;
    private static readonly TimeSpan Slow = TimeSpan.FromMilliseconds(20);

    /// <summary>Slow puts that were due this close to one another belong to one stall.</summary>
    private static readonly TimeSpan Apart = TimeSpan.FromMilliseconds(100);

    private readonly List<(TimeSpan Due, TimeSpan Took, TimeSpan SentLate)> _slow = []; // Guarded by itself.
    private readonly List<(TimeSpan From, TimeSpan To)> _compactions = []; // Guarded by _slow.

    /// <summary>A put is answered. From any thread.</summary>
    public void Answered(long dueAt, TimeSpan sentLate)
    {
        TimeSpan took = Stopwatch.GetElapsedTime(dueAt);
        if (took < Slow)
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
            CultureInfo.InvariantCulture, $"  stalls with puts over {Slow.TotalMilliseconds:F0} ms: {stalls.Count}; the longest, with how late the generator's own thread was then:"));
        DateTime began = DateTime.UtcNow - Stopwatch.GetElapsedTime(begin);
        foreach (Stall stall in stalls.OrderByDescending(static s => s.Longest).Take(Shown))
        {
            (TimeSpan From, TimeSpan To)? before = compactions.LastOrDefault(c => c.From <= stall.At) is { To.Ticks: > 0 } last ? last : null;
            string compaction = before is { } b ? string.Create(CultureInfo.InvariantCulture, $", {(stall.At - b.From).TotalSeconds:F1} s after a compaction was asked for") : "";
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture,
                $"    at {stall.At.TotalSeconds,7:F2} s ({began + stall.At:HH:mm:ss.fff}): {stall.Puts,4} puts, longest {stall.Longest.TotalMilliseconds,6:F1} ms, generator late {stall.SentLate.TotalMilliseconds,6:F1} ms{compaction}"));
        }
    }

    private (List<Stall> Stalls, (TimeSpan From, TimeSpan To)[] Compactions) Gather()
    {
        List<Stall> stalls = [];
        lock (_slow)
        {
            TimeSpan lastDue = TimeSpan.MinValue;
            foreach ((TimeSpan due, TimeSpan took, TimeSpan sentLate) in _slow.OrderBy(static s => s.Due))
            {
                if (stalls.Count == 0 || due - lastDue > Apart)
                {
                    stalls.Add(new Stall(due, 0, default, default));
                }

                Stall stall = stalls[^1];
                stalls[^1] = new Stall(stall.At, stall.Puts + 1, Max(stall.Longest, took), Max(stall.SentLate, sentLate));
                lastDue = due;
            }

            return (stalls, [.. _compactions]);
        }
    }

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;

    private readonly record struct Stall(TimeSpan At, int Puts, TimeSpan Longest, TimeSpan SentLate);
}

using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Kapell.Bench.Scale;

/// <summary>
/// A thread on each processor that only sleeps, a millisecond at a time, and notes when it was not let run again for so long that no program's
/// turn explains it: the machine stood still there, or its kernel was busy. Says what part of a put's time was nobody's who serves it.
/// </summary>
internal sealed partial class Witnesses : IDisposable
{
    private const int ProcessorsMax = 16;
    private const int KeptMax = 100_000;

    /// <summary>A thread that wakes has its turn within a slice of the scheduler, which is 3 ms on two processors.</summary>
    private static readonly TimeSpan Late = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Nap = TimeSpan.FromMilliseconds(1);

    private readonly Thread[] _threads;
    private readonly List<(long From, long To)>[] _gaps; // Timestamps, in order; each guarded by itself.
    private volatile bool _isOver;

    public Witnesses()
    {
        _gaps = [.. Enumerable.Range(0, Math.Min(Environment.ProcessorCount, ProcessorsMax)).Select(static _ => new List<(long From, long To)>())];
        _threads = [.. Enumerable.Range(0, _gaps.Length).Select(p => new Thread(() => Watch(p)) { IsBackground = true, Name = $"witness {p}" })];
        Array.ForEach(_threads, static t => t.Start());
    }

    /// <summary>How often one was kept waiting, and the longest of these times, of all processors.</summary>
    public (int Count, TimeSpan Longest) Gaps
    {
        get
        {
            (int count, long longest) = (0, 0L);
            foreach (List<(long From, long To)> gaps in _gaps)
            {
                lock (gaps)
                {
                    count += gaps.Count;
                    longest = gaps.Aggregate(longest, static (most, gap) => Math.Max(most, gap.To - gap.From));
                }
            }

            return (count, Stopwatch.GetElapsedTime(0, longest));
        }
    }

    /// <summary>For how long of a time, in timestamps, the processor that was away most was away.</summary>
    public TimeSpan Missing(long from, long to) => _gaps.Max(gaps =>
    {
        lock (gaps)
        {
            return Stopwatch.GetElapsedTime(0, gaps.Sum(gap => Math.Max(0, Math.Min(to, gap.To) - Math.Max(from, gap.From))));
        }
    });

    public void Dispose()
    {
        _isOver = true;
        Array.ForEach(_threads, static t => t.Join());
    }

    private void Watch(int processor)
    {
        ulong mask = 1UL << processor;
        if (SetAffinity(0, sizeof(ulong), ref mask) != 0)
        {
            return; // Not a processor of this process: nothing is said of it.
        }

        List<(long From, long To)> gaps = _gaps[processor];
        long nap = (long)(Nap.TotalSeconds * Stopwatch.Frequency);
        while (!_isOver)
        {
            long slept = Stopwatch.GetTimestamp();
            Thread.Sleep(Nap);
            long awake = Stopwatch.GetTimestamp();
            if (Stopwatch.GetElapsedTime(slept + nap, awake) >= Late)
            {
                lock (gaps)
                {
                    if (gaps.Count < KeptMax)
                    {
                        gaps.Add((slept + nap, awake));
                    }
                }
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nint bytes, ref ulong mask);
}

using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Kapell.Bench.Scale;

/// <summary>
/// A thread on each processor that sleeps a millisecond at a time and then reads a little here and there of much memory. It notes when it was not
/// let run again for so long that no program's turn explains it: the machine stood still there, or its kernel was busy; and when the reads took a
/// multiple of the processor time that they take: the machine or its memory gave less than its kernel counts. Says what part of a put's time was
/// nobody's who serves it.
/// </summary>
internal sealed partial class Witnesses : IDisposable
{
    private const int ProcessorsMax = 16;
    private const int KeptMax = 100_000;

    /// <summary>A thread that wakes has its turn within a slice of the scheduler, which is 3 ms on two processors.</summary>
    private static readonly TimeSpan Late = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan Nap = TimeSpan.FromMilliseconds(1);

    private const int MemoryItems = 1 << 26; // 512 MB, shared: more than any cache has.
    private const int Reads = 64; // Each waits for the one before: some 10 µs.
    private const int Slow = 5; // Times what it takes; an interrupt costs less.
    private const int CalibrationRuns = 500;
    private const int ThreadTime = 3; // CLOCK_THREAD_CPUTIME_ID

    private readonly ulong[] _memory = GC.AllocateUninitializedArray<ulong>(MemoryItems);
    private readonly Thread[] _threads;
    private readonly List<Gap>[] _gaps; // In order; each guarded by itself.
    private readonly StolenTime _stolen;
    private volatile bool _isOver;

    /// <param name="disk">What it saw is missing too.</param>
    public Witnesses(DiskWitness? disk = null)
    {
        Disk = disk;
        _gaps = [.. Enumerable.Range(0, Math.Min(Environment.ProcessorCount, ProcessorsMax)).Select(static _ => new List<Gap>())];
        _stolen = new StolenTime(_gaps.Length);
        _memory.AsSpan().Fill(1); // Pages that nobody wrote to are none.
        _threads = [.. Enumerable.Range(0, _gaps.Length).Select(p => new Thread(() => Watch(p)) { IsBackground = true, Name = $"witness {p}" })];
        Array.ForEach(_threads, static t => t.Start());
    }

    public DiskWitness? Disk { get; }

    /// <summary>What the machine that this one runs on gave to others, of all processors together.</summary>
    public TimeSpan Stolen => _stolen.Total;

    /// <summary>How often one was kept waiting and the longest of these times; and for how long, of all together, the machine was slow.</summary>
    public (int Count, TimeSpan Longest, TimeSpan Slow) Gaps
    {
        get
        {
            (int count, long longest, double slow) = (0, 0L, 0.0);
            foreach (List<Gap> gaps in _gaps)
            {
                lock (gaps)
                {
                    foreach (Gap gap in gaps)
                    {
                        count += gap.Share < 1 ? 0 : 1;
                        longest = gap.Share < 1 ? longest : Math.Max(longest, gap.To - gap.From);
                        slow += gap.Share < 1 ? gap.To - gap.From : 0;
                    }
                }
            }

            return (count, Stopwatch.GetElapsedTime(0, longest), Stopwatch.GetElapsedTime(0, (long)slow));
        }
    }

    /// <summary>What of a time, in timestamps, the disk stood still, or the processor that missed most did not give.</summary>
    public TimeSpan Missing(long from, long to)
    {
        IReadOnlyList<(long From, long To)> still = Disk?.Within(from, to) ?? [];
        long disk = still.Sum(static s => s.To - s.From);
        return Stopwatch.GetElapsedTime(0, disk + (long)Enumerable.Range(0, _gaps.Length).Max(processor =>
        {
            // None twice: what was stolen is what a thread was late by, and neither counts beside a disk that stood still.
            double stolen = _stolen.Within(processor, from, to) - still.Sum(s => _stolen.Within(processor, s.From, s.To));
            List<Gap> gaps = _gaps[processor];
            lock (gaps)
            {
                return Math.Max(stolen, gaps.Sum(gap => (Overlap(gap, from, to) - still.Sum(s => Overlap(gap, s.From, s.To))) * gap.Share));
            }
        }));
    }

    public void Dispose()
    {
        _isOver = true;
        Array.ForEach(_threads, static t => t.Join());
        _stolen.Dispose();
    }

    private static long Overlap(Gap gap, long from, long to) => Math.Max(0, Math.Min(to, gap.To) - Math.Max(from, gap.From));

    private void Watch(int processor)
    {
        ulong mask = 1UL << processor;
        if (SetAffinity(0, sizeof(ulong), ref mask) != 0)
        {
            return; // Not a processor of this process: nothing is said of it.
        }

        ulong at = (ulong)processor + 1;
        double usual = double.MaxValue;
        for (int i = 0; i < CalibrationRuns; i++)
        {
            usual = Math.Min(usual, Work(ref at));
        }

        List<Gap> gaps = _gaps[processor];
        long nap = (long)(Nap.TotalSeconds * Stopwatch.Frequency);
        while (!_isOver)
        {
            long slept = Stopwatch.GetTimestamp();
            Thread.Sleep(Nap);
            long awake = Stopwatch.GetTimestamp();
            double took = Work(ref at);
            if (Stopwatch.GetElapsedTime(slept + nap, awake) >= Late)
            {
                Note(new Gap(slept + nap, awake, 1));
            }
            else if (took > Slow * usual)
            {
                Note(new Gap(slept, Stopwatch.GetTimestamp(), 1 - (usual / took)));
            }
        }

        void Note(Gap gap)
        {
            lock (gaps)
            {
                if (gaps.Count < KeptMax)
                {
                    gaps.Add(gap);
                }
            }
        }
    }

    /// <summary>Nanoseconds of this thread's processor time that the reads took.</summary>
    /// <param name="at">Where to go on; changed.</param>
    private double Work(ref ulong at)
    {
        _ = GetTime(ThreadTime, out TimeSpec begun);
        for (int i = 0; i < Reads; i++)
        {
            at = (at * 6364136223846793005UL) + _memory[at >> 38];
        }

        _ = GetTime(ThreadTime, out TimeSpec ended);
        return ((ended.Seconds - begun.Seconds) * 1e9) + (ended.Nanoseconds - begun.Nanoseconds);
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    private static partial int SetAffinity(int thread, nint bytes, ref ulong mask);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int GetTime(int clock, out TimeSpec time);

    private struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    /// <summary>Timestamps, and what share of that time the processor did not give.</summary>
    private readonly record struct Gap(long From, long To, double Share);
}

using System.Diagnostics;
using System.Globalization;
using System.Numerics;

namespace Kapell.Bench;

/// <summary>Counts latencies in buckets 1/64 of an octave wide, from any number of threads.</summary>
internal sealed class LatencyRecorder
{
    private const int SubBits = 6;
    private const int SubBuckets = 1 << SubBits;
    private readonly long[] _counts = new long[64 * SubBuckets];
    private long _max;

    public void Record(long startTimestamp)
    {
        long nanoseconds = Stopwatch.GetElapsedTime(startTimestamp).Ticks * 100;
        Interlocked.Increment(ref _counts[BucketOf(Math.Max(1, nanoseconds))]);
        long max = Volatile.Read(ref _max);
        while (nanoseconds > max)
        {
            long seen = Interlocked.CompareExchange(ref _max, nanoseconds, max);
            if (seen == max)
            {
                break;
            }

            max = seen;
        }
    }

    /// <summary>The latency that this share of the operations did not exceed.</summary>
    public TimeSpan Quantile(double share)
    {
        long wanted = (long)Math.Ceiling(Total() * share);
        long seen = 0;
        for (int i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= wanted && seen > 0)
            {
                return TimeSpan.FromTicks(Math.Min(UpperOf(i), _max) / 100);
            }
        }

        return TimeSpan.Zero;
    }

    /// <summary>Quantiles, the longest, and a histogram, a line each.</summary>
    public async Task WriteAsync(TextWriter output)
    {
        foreach (double share in (double[])[0.5, 0.9, 0.99, 0.999, 0.9999])
        {
            await output.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture, $"  p{share * 100:0.##}: {Quantile(share).TotalMilliseconds:F2} ms"));
        }

        await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"  longest: {Max.TotalMilliseconds:F2} ms"));
        foreach ((double upTo, long count) in ByMilliseconds([0.5, 1, 2, 5, 10, 20, 50, 100, 1000, double.PositiveInfinity]))
        {
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"  up to {upTo,6} ms: {count}"));
        }
    }

    /// <summary>How many lie above the bound before and not above this one.</summary>
    public IEnumerable<(double UpToMilliseconds, long Count)> ByMilliseconds(IReadOnlyList<double> bounds)
    {
        int bucket = 0;
        foreach (double bound in bounds)
        {
            long count = 0;
            for (; bucket < _counts.Length && UpperOf(bucket) <= bound * 1e6; bucket++)
            {
                count += _counts[bucket];
            }

            yield return (bound, count);
        }
    }

    public TimeSpan Max => TimeSpan.FromTicks(_max / 100);

    public long Total() => _counts.Sum();

    public void Reset()
    {
        Array.Clear(_counts);
        _max = 0;
    }

    private static int BucketOf(long value)
    {
        int octave = 63 - BitOperations.LeadingZeroCount((ulong)value);
        long sub = octave <= SubBits ? (value << (SubBits - octave)) & (SubBuckets - 1) : (value >> (octave - SubBits)) & (SubBuckets - 1);
        return (octave * SubBuckets) + (int)sub;
    }

    private static long UpperOf(int bucket)
    {
        int octave = bucket / SubBuckets;
        double width = Math.Pow(2, octave) / SubBuckets;
        return (long)(Math.Pow(2, octave) + (width * ((bucket % SubBuckets) + 1)));
    }
}

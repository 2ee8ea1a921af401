namespace Kapell.Base;

/// <summary>Counts of observations by upper bounds, as Prometheus shows them. From any thread.</summary>
public sealed class Histogram
{
    private readonly double[] _bounds;
    private readonly long[] _counts;
    private double _sum;

    /// <param name="bounds">Rising.</param>
    public Histogram(params double[] bounds)
    {
        _bounds = bounds;
        _counts = new long[bounds.Length + 1];
    }

    public IReadOnlyList<double> Bounds => _bounds;

    public double Sum => Volatile.Read(ref _sum);

    /// <summary>A bound and its multiples by the powers of a factor: <paramref name="count"/> bounds in all.</summary>
    public static Histogram Exponential(double first, double factor, int count) =>
        new([.. Enumerable.Range(0, count).Select(i => first * Math.Pow(factor, i))]);

    public void Observe(double value)
    {
        int bucket = 0;
        while (bucket < _bounds.Length && value > _bounds[bucket])
        {
            bucket++;
        }

        Interlocked.Increment(ref _counts[bucket]);
        double before = Volatile.Read(ref _sum);
        while (Interlocked.CompareExchange(ref _sum, before + value, before) is var seen && seen != before)
        {
            before = seen;
        }
    }

    /// <summary>Observations at or below each bound, then all.</summary>
    public long[] Cumulated()
    {
        long[] cumulated = new long[_counts.Length];
        long total = 0;
        for (int i = 0; i < _counts.Length; i++)
        {
            total += Interlocked.Read(ref _counts[i]);
            cumulated[i] = total;
        }

        return cumulated;
    }
}

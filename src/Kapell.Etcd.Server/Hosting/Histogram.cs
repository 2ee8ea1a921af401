namespace Kapell.Etcd.Server.Hosting;

/// <summary>Counts of observations by exponential upper bounds, as Prometheus shows them. One writer, any number of readers.</summary>
internal sealed class Histogram
{
    private readonly long[] _counts;
    private double _sum;

    public Histogram(double first, double factor, int count)
    {
        Bounds = [.. Enumerable.Range(0, count).Select(i => first * Math.Pow(factor, i))];
        _counts = new long[count + 1];
    }

    public IReadOnlyList<double> Bounds { get; }

    public double Sum => Volatile.Read(ref _sum);

    public void Observe(double value)
    {
        int bucket = 0;
        while (bucket < Bounds.Count && value > Bounds[bucket])
        {
            bucket++;
        }

        Interlocked.Increment(ref _counts[bucket]);
        Volatile.Write(ref _sum, _sum + value);
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

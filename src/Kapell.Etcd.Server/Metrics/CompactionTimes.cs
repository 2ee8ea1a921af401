using Kapell.Base;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>How long compactions took, and for how long each of their steps held everybody up. Steps are told by the owner's thread.</summary>
internal sealed class CompactionTimes(TimeProvider time)
{
    private long _began;
    private bool _isUnderWay;
    private long _lastSeconds;

    /// <summary>Milliseconds of each step.</summary>
    public Histogram Pauses { get; } = Histogram.Exponential(1, 2, 13);

    /// <summary>Milliseconds from the first step to the last.</summary>
    public Histogram Totals { get; } = Histogram.Exponential(100, 2, 14);

    /// <summary>When the last one ended, since unix epoch; 0 for none.</summary>
    public long LastSeconds => Interlocked.Read(ref _lastSeconds);

    /// <summary>A step from <paramref name="began"/> until now; <paramref name="ended"/> when nothing is left to do.</summary>
    public void Step(long began, bool ended)
    {
        Pauses.Observe(time.GetElapsedTime(began).TotalMilliseconds);
        if (!_isUnderWay)
        {
            (_isUnderWay, _began) = (true, began);
        }

        if (ended)
        {
            _isUnderWay = false;
            Totals.Observe(time.GetElapsedTime(_began).TotalMilliseconds);
            Interlocked.Exchange(ref _lastSeconds, time.GetUtcNow().ToUnixTimeSeconds());
        }
    }
}

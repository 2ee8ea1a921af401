namespace Kapell.Etcd.Server.Comparison;

/// <summary>What comparing has come to since this process started; for metrics and status. From any thread.</summary>
public sealed class ComparisonState
{
    private const int DifferencesKept = 16;
    private readonly Lock _lock = new(); // Guards the list.
    private readonly List<Difference> _differences = [];
    private long _stretches;
    private long _alone;
    private long _rounds;
    private long _lastRound;

    /// <summary>Stretches compared with at least one other member.</summary>
    public long Stretches => Interlocked.Read(ref _stretches);

    /// <summary>Stretches for which nobody else answered.</summary>
    public long Alone => Interlocked.Read(ref _alone);

    /// <summary>Rounds over all keys with all members.</summary>
    public long Rounds => Interlocked.Read(ref _rounds);

    /// <summary>When the last of them ended, in seconds since 1970; 0 for none.</summary>
    public long LastRoundSeconds => Interlocked.Read(ref _lastRound);

    /// <summary>What was found, the newest last; no more than a few are kept.</summary>
    internal IReadOnlyList<Difference> Differences
    {
        get
        {
            lock (_lock)
            {
                return [.. _differences];
            }
        }
    }

    internal void Compared(bool withOthers) => Interlocked.Increment(ref withOthers ? ref _stretches : ref _alone);

    internal void WholeRound(DateTimeOffset now)
    {
        Interlocked.Increment(ref _rounds);
        Interlocked.Exchange(ref _lastRound, now.ToUnixTimeSeconds());
    }

    /// <summary>False when this was known.</summary>
    internal bool Found(Difference difference)
    {
        lock (_lock)
        {
            if (_differences.Exists(d => d.ToString() == difference.ToString()))
            {
                return false;
            }

            if (_differences.Count == DifferencesKept)
            {
                _differences.RemoveAt(0);
            }

            _differences.Add(difference);
            return true;
        }
    }

    /// <summary>No alarm of corruption is active: somebody has dealt with what was found.</summary>
    internal void Forget()
    {
        lock (_lock)
        {
            _differences.Clear();
        }
    }
}

using System.Collections.Concurrent;

namespace Kapell.Faults.Rounds;

/// <summary>How often each fault was done, and what was measured; for any thread.</summary>
internal sealed class FaultCounts
{
    private readonly ConcurrentDictionary<string, int> _counts = new();
    private readonly ConcurrentQueue<double> _leaderGaps = new();

    public int this[string fault] => _counts.GetValueOrDefault(fault);

    public IReadOnlyList<double> LeaderGaps => [.. _leaderGaps.Order()];

    public int Total => _counts.Values.Sum();

    public void Add(string fault) => _counts.AddOrUpdate(fault, 1, static (_, n) => n + 1);

    public void AddLeaderGap(TimeSpan gap) => _leaderGaps.Enqueue(gap.TotalMilliseconds);

    public string Describe() => string.Join(", ", _counts.OrderBy(static c => c.Key, StringComparer.Ordinal).Select(static c => $"{c.Key} {c.Value}"));

    /// <summary>The value that a share of all is not above.</summary>
    public double GapAt(double share)
    {
        IReadOnlyList<double> all = LeaderGaps;
        return all.Count == 0 ? 0 : all[Math.Clamp((int)Math.Ceiling(all.Count * share) - 1, 0, all.Count - 1)];
    }
}

namespace Kapell.Controllers.DaemonSets;

/// <summary>
/// How long a failed pod's successor must wait, by set and node: nothing for the first, then 1 s doubling to 15 minutes; forgotten after
/// half an hour without a failure (daemon_controller.go: failedPodsBackoff). Safe for concurrent use.
/// </summary>
internal sealed class FailureBackoff(TimeProvider time)
{
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Max = TimeSpan.FromMinutes(15);
    private readonly Lock _gate = new(); // around the map
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>The wait that is left before this pod may be replaced; zero counts as one more failure.</summary>
    public TimeSpan Next(string key, string podUid)
    {
        DateTimeOffset now = time.GetUtcNow();
        lock (_gate)
        {
            if (!_entries.TryGetValue(key, out Entry entry) || now - entry.At > Max * 2)
            {
                Prune(now);
                _entries[key] = new Entry(First, now, podUid);
                return TimeSpan.Zero;
            }

            TimeSpan left = entry.At + entry.Wait - now;
            if (left > TimeSpan.Zero && entry.PodUid != podUid)
            {
                return left;
            }

            if (entry.PodUid != podUid)
            {
                TimeSpan wait = entry.Wait * 2;
                _entries[key] = new Entry(wait < Max ? wait : Max, now, podUid);
            }

            return TimeSpan.Zero;
        }
    }

    private void Prune(DateTimeOffset now)
    {
        foreach (string old in _entries.Where(e => now - e.Value.At > Max * 2).Select(e => e.Key).ToArray())
        {
            _entries.Remove(old);
        }
    }

    private readonly record struct Entry(TimeSpan Wait, DateTimeOffset At, string PodUid);
}

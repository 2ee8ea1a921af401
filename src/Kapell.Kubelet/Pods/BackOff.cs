namespace Kapell.Kubelet.Pods;

/// <summary>
/// Doubling waits by key: 10 s, 20 s, ... up to five minutes, forgotten when the thing ran for ten minutes. Not safe for concurrent use.
/// // client-go: util/flowcontrol/backoff.go; Kubernetes: pkg/kubelet MaxContainerBackOff
/// </summary>
internal sealed class BackOff(TimeSpan initial, TimeSpan max)
{
    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    public static BackOff ForContainers() => new(TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(5));

    public TimeSpan Get(string key) => _entries.TryGetValue(key, out Entry entry) ? entry.Wait : TimeSpan.Zero;

    /// <summary>Whether the wait counted from <paramref name="eventTime"/> (the end of the last run) is still on at <paramref name="now"/>.</summary>
    public bool IsInBackOffSince(string key, DateTimeOffset eventTime, DateTimeOffset now) =>
        _entries.TryGetValue(key, out Entry entry) && !Expired(eventTime, entry) && now - eventTime < entry.Wait;

    /// <summary>When the wait ends, for a timer.</summary>
    public DateTimeOffset EndsAt(string key, DateTimeOffset eventTime) => eventTime + Get(key);

    /// <summary>Another try begins: the next wait doubles, or starts anew after a long good run.</summary>
    public void Next(string key, DateTimeOffset eventTime, DateTimeOffset now)
    {
        TimeSpan wait = _entries.TryGetValue(key, out Entry entry) && !Expired(eventTime, entry)
            ? TimeSpan.FromTicks(Math.Min(entry.Wait.Ticks * 2, max.Ticks))
            : initial;
        _entries[key] = new Entry(wait, now);
    }

    public void Forget(string key) => _entries.Remove(key);

    private bool Expired(DateTimeOffset eventTime, Entry entry) => eventTime - entry.UpdatedAt > max * 2;

    private readonly record struct Entry(TimeSpan Wait, DateTimeOffset UpdatedAt);
}

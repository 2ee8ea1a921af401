using Kapell.Base;

namespace Kapell.Client.Queues;

/// <summary>Growing waits: each <see cref="Next"/> is <c>factor</c> times the last up to a cap, plus a random part up to <c>jitter</c> of it.</summary>
public sealed class Backoff(TimeSpan initial, double factor, TimeSpan cap, double jitter, Prng random)
{
    private readonly TimeSpan _initial = initial;
    private TimeSpan _current = initial;

    public TimeSpan Next()
    {
        TimeSpan wait = _current + (_current * (jitter * random.NextDouble()));
        TimeSpan grown = _current * factor;
        _current = grown < cap ? grown : cap;
        return wait;
    }

    public void Reset() => _current = _initial;
}

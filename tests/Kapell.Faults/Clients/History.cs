using System.Collections.Concurrent;
using System.Diagnostics;
using Kapell.Sim.Checks;

namespace Kapell.Faults.Clients;

/// <summary>What the clients of one round asked and were told, in real time. For any thread.</summary>
internal sealed class History(string prefix)
{
    private readonly ConcurrentQueue<Operation> _operations = new();
    private readonly ConcurrentDictionary<string, LeaseLife> _leases = new();
    private int _numbers;

    /// <summary>Of all keys of the round.</summary>
    public string Prefix { get; } = prefix;

    public IReadOnlyList<Operation> Operations => [.. _operations];

    public ConcurrentQueue<StaleRead> StaleReads { get; } = new();

    /// <summary>The key that each lease holds, with what is known of the lease.</summary>
    public IReadOnlyDictionary<string, LeaseLife> Leases => _leases;

    public static ulong Now => (ulong)Stopwatch.GetTimestamp();

    public string Unique() => $"v{Interlocked.Increment(ref _numbers)}";

    public Operation Begin(OperationKind kind, int member, string key, string? value = null, string? expected = null, string? other = null)
    {
        Operation operation = new(Interlocked.Increment(ref _numbers), kind, member, key) { Value = value, Expected = expected, OtherKey = other, Begun = Now };
        _operations.Enqueue(operation);
        return operation;
    }

    public LeaseLife LeaseOf(string key) => _leases.GetOrAdd(key, static _ => new LeaseLife());
}

/// <summary>A serializable read: it shows the state of some revision, perhaps an old one.</summary>
internal sealed record StaleRead(int Member, string Key, string? Found, long Revision);

/// <summary>Until when a lease must live, in ticks of the stopwatch. Times are those of the asking, so never later than the truth.</summary>
internal sealed class LeaseLife
{
    public long AliveUntil { get; private set; }

    public bool EndWanted { get; set; }

    public void Asked(long asked, long ttlSeconds) => AliveUntil = Math.Max(AliveUntil, asked + (ttlSeconds * Stopwatch.Frequency));
}

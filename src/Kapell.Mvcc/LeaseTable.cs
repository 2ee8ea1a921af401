using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>A lease as it is replicated: who may expire it is another matter.</summary>
public readonly record struct LeaseInfo(long Id, long Ttl);

/// <summary>
/// The leases and the keys attached to them. Granting and revoking come through the log; expiry is decided by one member alone (the
/// leader, <see cref="Promote"/>), which proposes the revocations. Time is passed in, in milliseconds of any monotonic clock.
/// etcd: lease/lessor.go
/// </summary>
public sealed class LeaseTable
{
    // etcd: lessor.go expiredLeaseRetryInterval
    private const long RevokeRetryMilliseconds = 3000;
    private const long Never = long.MaxValue;

    // etcd: lessor.go defaultLeaseCheckpointInterval
    private const long RememberMilliseconds = 5 * 60 * 1000;

    private readonly Dictionary<long, Lease> _leases = [];
    private readonly PriorityQueue<long, long> _byExpiry = new();
    private readonly PriorityQueue<long, long> _byRemembering = new();
    private bool _primary;

    public int Count => _leases.Count;

    /// <summary>Since the start of the process, as the two below.</summary>
    public long Granted { get; private set; }

    /// <summary>Of those granted, in seconds.</summary>
    public Histogram Ttls { get; } = Histogram.Exponential(1, 2, 24); // etcd: lease/metrics.go

    public long Revoked { get; private set; }

    public long Renewed { get; private set; }

    /// <summary>In rising order of id.</summary>
    public IReadOnlyList<LeaseInfo> All() => [.. _leases.Values.OrderBy(l => l.Id).Select(l => new LeaseInfo(l.Id, l.Ttl))];

    public bool Contains(long id) => _leases.ContainsKey(id);

    /// <summary>Leases of which less than the whole time is left, as their leader told; in rising order of id.</summary>
    public IReadOnlyList<(long Id, long Remaining)> Remembered() =>
        [.. _leases.Values.Where(static l => l.Remaining > 0).OrderBy(static l => l.Id).Select(static l => (l.Id, l.Remaining))];

    /// <summary>
    /// How much is left of a lease as the leader sees it, in seconds; 0: the whole time again. Whoever decides on expiry next begins with it,
    /// so that a lease does not live on by changes of leaders alone. etcd: lessor.go Checkpoint
    /// </summary>
    public void Remember(long id, long remainingSeconds)
    {
        if (_leases.TryGetValue(id, out Lease? lease) && remainingSeconds >= 0)
        {
            lease.Remaining = Math.Min(remainingSeconds, lease.Ttl);
        }
    }

    /// <summary>Whether something was remembered that a renewal makes void.</summary>
    public bool IsRemembered(long id) => _leases.TryGetValue(id, out Lease? lease) && lease.Remaining > 0;

    /// <summary>Adds what the others should be told now, at most <paramref name="max"/>: long leases, every five minutes.</summary>
    public void CollectToRemember(long now, int max, List<(long Id, long Remaining)> into)
    {
        while (max > 0 && _byRemembering.TryPeek(out long id, out long due) && due <= now)
        {
            _byRemembering.Dequeue();
            if (!_leases.TryGetValue(id, out Lease? lease) || lease.ExpiryMilliseconds <= now)
            {
                continue;
            }

            long remaining = (lease.ExpiryMilliseconds - now + 999) / 1000;
            if (remaining < lease.Ttl)
            {
                into.Add((id, remaining));
                max--;
            }

            ScheduleRemembering(lease, now);
        }
    }

    /// <summary>False when the lease exists.</summary>
    public bool Grant(long id, long ttlSeconds, long now)
    {
        Check.That(id != 0 && ttlSeconds > 0);
        Lease lease = new(id, ttlSeconds);
        if (!_leases.TryAdd(id, lease))
        {
            return false;
        }

        Granted++;
        Ttls.Observe(ttlSeconds);
        if (_primary)
        {
            Extend(lease, now);
            _byExpiry.Enqueue(id, lease.ExpiryMilliseconds);
            ScheduleRemembering(lease, now);
        }

        return true;
    }

    /// <summary>This member now decides on expiry: every lease lives on for what was told that is left of it, or else for its whole time.</summary>
    /// <param name="grace">Milliseconds added to that, for what the one before may have promised meanwhile.</param>
    public void Promote(long now, long grace = 0)
    {
        _primary = true;
        _byExpiry.Clear();
        _byRemembering.Clear();
        foreach (Lease lease in _leases.Values)
        {
            lease.ExpiryMilliseconds = now + grace + ((lease.Remaining > 0 ? lease.Remaining : lease.Ttl) * 1000);
            _byExpiry.Enqueue(lease.Id, lease.ExpiryMilliseconds);
            ScheduleRemembering(lease, now);
        }
    }

    public void Demote()
    {
        _primary = false;
        _byExpiry.Clear();
        _byRemembering.Clear();
        foreach (Lease lease in _leases.Values)
        {
            lease.ExpiryMilliseconds = Never;
        }
    }

    /// <summary>Starts the time of the lease anew; its TTL, or -1 when there is no such lease or it has expired.</summary>
    public long Renew(long id, long now)
    {
        Check.That(_primary);
        if (!_leases.TryGetValue(id, out Lease? lease) || lease.ExpiryMilliseconds <= now)
        {
            return -1;
        }

        // The queue keeps its old, earlier place; CollectExpired puts it right when that comes up.
        Renewed++;
        Extend(lease, now);
        return lease.Ttl;
    }

    /// <summary>Granted TTL and seconds left; false when there is no such lease.</summary>
    public bool TryGetTimes(long id, long now, out long granted, out long remaining)
    {
        granted = 0;
        remaining = -1;
        if (!_leases.TryGetValue(id, out Lease? lease))
        {
            return false;
        }

        granted = lease.Ttl;
        // The grace of a new leader is nothing to rely on.
        remaining = lease.ExpiryMilliseconds == Never ? lease.Ttl : Math.Clamp((lease.ExpiryMilliseconds - now) / 1000, 0, lease.Ttl);
        return true;
    }

    /// <summary>Adds leases to revoke now, at most <paramref name="max"/>; each comes again after a while if it is not revoked by then.</summary>
    public void CollectExpired(long now, int max, List<long> into)
    {
        while (max > 0 && _byExpiry.TryPeek(out long id, out long due) && due <= now)
        {
            _byExpiry.Dequeue();
            if (!_leases.TryGetValue(id, out Lease? lease))
            {
                continue;
            }

            if (lease.ExpiryMilliseconds > now)
            {
                _byExpiry.Enqueue(id, lease.ExpiryMilliseconds);
                continue;
            }

            into.Add(id);
            _byExpiry.Enqueue(id, now + RevokeRetryMilliseconds);
            max--;
        }
    }

    /// <summary>
    /// Nothing happens to a key that is attached already, nor when there is no such lease: a key that was taken over may name one that is gone,
    /// and a put that keeps the lease names it again.
    /// </summary>
    internal void Attach(long id, nint key)
    {
        if (_leases.TryGetValue(id, out Lease? lease))
        {
            lease.Keys.Add(key);
        }
    }

    /// <summary>The lease that a key names may be gone, or be another of the same id: then there is nothing to detach.</summary>
    internal void Detach(long id, nint key)
    {
        if (_leases.TryGetValue(id, out Lease? lease))
        {
            lease.Keys.Remove(key);
        }
    }

    /// <summary>None of a lease that is not there.</summary>
    internal nint[] KeysOf(long id) => _leases.TryGetValue(id, out Lease? lease) ? [.. lease.Keys] : [];

    internal void Remove(long id)
    {
        Revoked++;
        Check.That(_leases.Remove(id, out Lease? lease) && lease.Keys.Count == 0);
    }

    // A short one is not worth an entry of the log.
    private void ScheduleRemembering(Lease lease, long now)
    {
        if (lease.ExpiryMilliseconds - now > RememberMilliseconds)
        {
            _byRemembering.Enqueue(lease.Id, now + RememberMilliseconds);
        }
    }

    private static void Extend(Lease lease, long now) => lease.ExpiryMilliseconds = now + (lease.Ttl * 1000);

    private sealed class Lease(long id, long ttl)
    {
        public long Id { get; } = id;

        public long Ttl { get; } = ttl;

        public long ExpiryMilliseconds { get; set; } = Never;

        /// <summary>Seconds left when the leader told last; 0 for all.</summary>
        public long Remaining { get; set; }

        public HashSet<nint> Keys { get; } = [];
    }
}

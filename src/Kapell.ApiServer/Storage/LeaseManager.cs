using Kapell.Etcd.Client;

namespace Kapell.ApiServer.Storage;

/// <summary>
/// Leases for objects that live for a time, shared by all writes of a short window, since leases cost the store more than keys
/// (upstream: etcd3/lease_manager.go).
/// </summary>
internal sealed class LeaseManager(IEtcdClient etcd, TimeProvider time)
{
    private const long ReuseSecondsMax = 60;
    private const double ReuseShare = 0.05;
    private const int ObjectsMax = 1000;
    private readonly SemaphoreSlim _one = new(1, 1);
    private readonly Dictionary<long, Current> _byTtl = [];

    /// <summary>A lease that ends no sooner than <paramref name="timeToLive"/> from now.</summary>
    public async Task<long> GetAsync(TimeSpan timeToLive, CancellationToken cancel)
    {
        long seconds = Math.Max(1, (long)timeToLive.TotalSeconds);
        long reuse = Math.Min(ReuseSecondsMax, (long)(ReuseShare * seconds));
        await _one.WaitAsync(cancel);
        try
        {
            DateTimeOffset now = time.GetUtcNow();
            if (_byTtl.TryGetValue(seconds, out Current? current)
                && now.AddSeconds(seconds) < current.Ends
                && now.AddSeconds(seconds + reuse) >= current.Ends
                && current.Objects < ObjectsMax)
            {
                current.Objects++;
                return current.Id;
            }

            long id = await etcd.LeaseGrantAsync(seconds + reuse, cancel);
            _byTtl[seconds] = new Current(id, now.AddSeconds(seconds + reuse)) { Objects = 1 };
            return id;
        }
        finally
        {
            _one.Release();
        }
    }

    /// <summary>After the store has said that a lease is not there any more.</summary>
    public async Task ForgetAsync(long id, CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try
        {
            foreach ((long ttl, Current current) in _byTtl.Where(p => p.Value.Id == id).ToArray())
            {
                _byTtl.Remove(ttl);
            }
        }
        finally
        {
            _one.Release();
        }
    }

    private sealed record Current(long Id, DateTimeOffset Ends)
    {
        public int Objects { get; set; }
    }
}

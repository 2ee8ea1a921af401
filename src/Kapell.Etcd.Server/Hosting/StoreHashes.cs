using Kapell.Base;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>A hash of the store, and of which part of its history it is.</summary>
/// <param name="StoreRevision">When it was asked for.</param>
/// <param name="CompactRevision">-1 before the first compaction, as etcd says it.</param>
public readonly record struct HashedStore(long StoreRevision, long Revision, long CompactRevision, uint Hash);

/// <summary>
/// Hashes of this member's store for who asks, one at a time, taken in pieces between the writes: a store of ten million keys takes seconds.
/// The last few are remembered, for when their revision has been compacted: what was there before is gone then. etcd: mvcc/hash.go
/// </summary>
public sealed class StoreHashes(ReplicaHost host) : IAsyncDisposable
{
    // etcd: hash.go hashStorageMaxSize
    private const int RememberedMax = 10;
    private const int PieceBytes = 512 * 1024;

    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Queue<HashedStore> _remembered = new(); // Locked for itself.

    /// <param name="revision">0 for the newest.</param>
    /// <param name="times">Is told how long it took.</param>
    /// <exception cref="Grpc.Core.RpcException">The revision is not there.</exception>
    internal async Task<HashedStore> TakeAsync(long revision, Histogram times, CancellationToken cancellation)
    {
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation, _stopping.Token);
        await _turn.WaitAsync(ending.Token);
        long began = host.Time.GetTimestamp();
        try
        {
            (HashedStore known, StoreHash? hash) = await host.OwnAsync(
                replica => Begin(replica.Applier.Store, revision), static begun => begun.Hash?.End(), ending.Token);
            HashedStore taken = hash is null ? known : Remember(known with { Hash = await TakeAsync(hash, ending.Token) });
            times.Observe(host.Time.GetElapsedTime(began).TotalSeconds);
            return taken;
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>Ends when nobody reads the store for a hash any more: it may be freed then.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _turn.WaitAsync();
        _turn.Dispose();
        _stopping.Dispose();
    }

    private (HashedStore Known, StoreHash? Hash) Begin(MvccStore store, long revision)
    {
        if (ReplyEncoder.ToError(store.CheckRevision(revision)) is { } error)
        {
            throw error.ToException();
        }

        HashedStore known = new(store.Revision, revision <= 0 ? store.Revision : revision, store.CompactRevision == 0 ? -1 : store.CompactRevision, 0);
        lock (_remembered)
        {
            foreach (HashedStore before in _remembered)
            {
                // Nobody can make it again.
                if (before.Revision == known.Revision && known.Revision == known.CompactRevision && before.CompactRevision < known.CompactRevision)
                {
                    return (before with { StoreRevision = store.Revision }, null);
                }
            }
        }

        return (known, store.BeginHash(known.Revision));
    }

    private async Task<uint> TakeAsync(StoreHash hash, CancellationToken cancellation)
    {
        try
        {
            return await Task.Run(() => hash.Take(host.WhileUnchanged, PieceBytes, cancellation), CancellationToken.None);
        }
        finally
        {
            host.PostOwned(hash.End);
        }
    }

    private HashedStore Remember(HashedStore taken)
    {
        lock (_remembered)
        {
            if (!_remembered.Any(r => r.Revision == taken.Revision && r.CompactRevision == taken.CompactRevision))
            {
                _remembered.Enqueue(taken);
                if (_remembered.Count > RememberedMax)
                {
                    _remembered.Dequeue();
                }
            }
        }

        return taken;
    }
}

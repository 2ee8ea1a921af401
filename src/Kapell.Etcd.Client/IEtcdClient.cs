namespace Kapell.Etcd.Client;

/// <summary>
/// What Kapell asks of an etcd v3 store. Safe for concurrent use. Reads are tried again on another endpoint when one fails;
/// writes only when they cannot have been sent. Every failure is an <see cref="EtcdException"/>, or
/// <see cref="OperationCanceledException"/> when the caller's token ends it.
/// </summary>
public interface IEtcdClient : IAsyncDisposable
{
    Task<EtcdRangeResult> RangeAsync(EtcdRange range, CancellationToken cancel);

    Task<EtcdTxnResult> TxnAsync(EtcdTxn txn, CancellationToken cancel);

    /// <summary>Forgets revisions before <paramref name="revision"/>.</summary>
    Task CompactAsync(long revision, CancellationToken cancel);

    /// <summary>A lease of so many seconds; its id.</summary>
    Task<long> LeaseGrantAsync(long seconds, CancellationToken cancel);

    /// <summary>Refreshes a lease once; the seconds it has now. <see cref="EtcdErrorKind.LeaseNotFound"/> when it is gone.</summary>
    Task<long> LeaseKeepAliveAsync(long lease, CancellationToken cancel);

    Task LeaseRevokeAsync(long lease, CancellationToken cancel);

    /// <summary>Opens a watch on all keys with a prefix, from <paramref name="startRevision"/> on (0: from now).</summary>
    IEtcdWatch Watch(ReadOnlyMemory<byte> prefix, long startRevision, bool progressNotify);
}

/// <summary>
/// One watch. Survives lost connections by resuming after the last revision delivered, so each change comes exactly once and in
/// order. One reader.
/// </summary>
public interface IEtcdWatch : IAsyncDisposable
{
    /// <summary>Ends only by cancellation or with an exception: <see cref="EtcdErrorKind.Compacted"/> when changes have been missed for good.</summary>
    IAsyncEnumerable<EtcdWatchBatch> ReadAllAsync(CancellationToken cancel);

    /// <summary>Asks for a progress batch soon. Does nothing while not connected.</summary>
    Task RequestProgressAsync(CancellationToken cancel);
}

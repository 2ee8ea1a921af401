using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client;

/// <summary>The etcd v3 client over gRPC; see <see cref="IEtcdClient"/> for what it promises.</summary>
public sealed class EtcdClient : IEtcdClient
{
    private readonly EtcdConnections _connections;
    private readonly EtcdClientOptions _options;
    private readonly TimeProvider _time;

    public EtcdClient(EtcdClientOptions options, TimeProvider time)
    {
        _options = options;
        _time = time;
        _connections = new EtcdConnections(options);
    }

    public async Task<EtcdRangeResult> RangeAsync(EtcdRange range, CancellationToken cancel)
    {
        RangeRequest request = ToWire(range);
        RangeResponse response = await CallAsync(request, static (c, r, o) => c.Kv.RangeAsync(r, o), idempotent: true, cancel);
        return FromWire(response, response.Header.Revision);
    }

    public async Task<EtcdTxnResult> TxnAsync(EtcdTxn txn, CancellationToken cancel)
    {
        TxnRequest request = new();
        bool writes = false;
        foreach (EtcdCompare compare in txn.Compare)
        {
            request.Compare.Add(ToWire(compare));
        }

        foreach (EtcdOp op in txn.Success)
        {
            writes |= op is not EtcdGet;
            request.Success.Add(ToWire(op));
        }

        foreach (EtcdOp op in txn.Failure)
        {
            writes |= op is not EtcdGet;
            request.Failure.Add(ToWire(op));
        }

        TxnResponse response = await CallAsync(request, static (c, r, o) => c.Kv.TxnAsync(r, o), idempotent: !writes, cancel);
        List<EtcdRangeResult> reads = [];
        foreach (ResponseOp op in response.Responses)
        {
            if (op.ResponseRange is { } range)
            {
                reads.Add(FromWire(range, response.Header.Revision));
            }
        }

        return new EtcdTxnResult(response.Succeeded, response.Header.Revision, reads);
    }

    public Task CompactAsync(long revision, CancellationToken cancel) =>
        CallAsync(new CompactionRequest { Revision = revision }, static (c, r, o) => c.Kv.CompactAsync(r, o), idempotent: false, cancel);

    public async Task<long> LeaseGrantAsync(long seconds, CancellationToken cancel)
    {
        LeaseGrantResponse response = await CallAsync(
            new LeaseGrantRequest { TTL = seconds }, static (c, r, o) => c.Lease.LeaseGrantAsync(r, o), idempotent: false, cancel);
        return response.Error.Length > 0 ? throw new EtcdException(EtcdErrorKind.Other, response.Error) : response.ID;
    }

    public Task LeaseRevokeAsync(long lease, CancellationToken cancel) =>
        CallAsync(new LeaseRevokeRequest { ID = lease }, static (c, r, o) => c.Lease.LeaseRevokeAsync(r, o), idempotent: false, cancel);

    public async Task<long> LeaseKeepAliveAsync(long lease, CancellationToken cancel)
    {
        using CancellationTokenSource timeout = new(_options.CallTimeout, _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancel, timeout.Token);
        EtcdConnections.Connection connection = _connections.Current;
        try
        {
            using var call = connection.Lease.LeaseKeepAlive(new CallOptions(cancellationToken: both.Token));
            await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = lease }, both.Token);
            await call.RequestStream.CompleteAsync();
            if (!await call.ResponseStream.MoveNext(both.Token))
            {
                throw new EtcdException(EtcdErrorKind.Unavailable, "the store closed the keep-alive without an answer");
            }

            // A lease that is gone answers with a TTL of zero.
            long left = call.ResponseStream.Current.TTL;
            return left > 0 ? left : throw new EtcdException(EtcdErrorKind.LeaseNotFound, "etcdserver: requested lease not found");
        }
        catch (RpcException e)
        {
            throw Failed(e, connection, timeout, cancel);
        }
    }

    public IEtcdWatch Watch(ReadOnlyMemory<byte> prefix, long startRevision, bool progressNotify) =>
        new EtcdWatch(_connections, prefix, startRevision, progressNotify, _time);

    public ValueTask DisposeAsync()
    {
        _connections.Dispose();
        return ValueTask.CompletedTask;
    }

    internal static EtcdEntry FromWire(KeyValue kv) =>
        new(kv.Key.Memory, kv.Value.Memory, kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease);

    internal static ByteString ToWire(ReadOnlyMemory<byte> bytes) => UnsafeByteOperations.UnsafeWrap(bytes);

    private async Task<TResponse> CallAsync<TRequest, TResponse>(
        TRequest request,
        Func<EtcdConnections.Connection, TRequest, CallOptions, AsyncUnaryCall<TResponse>> send,
        bool idempotent,
        CancellationToken cancel)
    {
        using CancellationTokenSource timeout = new(_options.CallTimeout, _time);
        using CancellationTokenSource both = CancellationTokenSource.CreateLinkedTokenSource(cancel, timeout.Token);
        for (int attempt = 0; ; attempt++)
        {
            EtcdConnections.Connection connection = _connections.Current;
            try
            {
                return await send(connection, request, new CallOptions(cancellationToken: both.Token));
            }
            catch (RpcException e)
            {
                EtcdException failure = Failed(e, connection, timeout, cancel);
                bool again = failure.Kind == EtcdErrorKind.Unavailable && (idempotent || failure.NothingSent) && attempt < 2 * _connections.Count;
                if (!again)
                {
                    throw failure;
                }

                await Task.Delay(TimeSpan.FromMilliseconds(25 * (attempt + 1)), _time, both.Token);
            }
        }
    }

    private EtcdException Failed(
        RpcException e, EtcdConnections.Connection connection, CancellationTokenSource timeout, CancellationToken cancel)
    {
        if (e.StatusCode == StatusCode.Cancelled)
        {
            cancel.ThrowIfCancellationRequested();
            if (timeout.IsCancellationRequested)
            {
                _connections.LeaveFailed(connection);
                return new EtcdException(EtcdErrorKind.Timeout, "context deadline exceeded", e);
            }
        }

        EtcdException failure = EtcdErrors.From(e);
        if (failure.Kind == EtcdErrorKind.Unavailable)
        {
            _connections.LeaveFailed(connection);
        }

        return failure;
    }

    private static RangeRequest ToWire(EtcdRange range) => new()
    {
        Key = ToWire(range.Key), RangeEnd = ToWire(range.End), Limit = range.Limit, Revision = range.Revision,
        Serializable = range.Serializable, KeysOnly = range.KeysOnly, CountOnly = range.CountOnly,
    };

    private static Compare ToWire(EtcdCompare compare)
    {
        Compare wire = new() { Result = Compare.Types.CompareResult.Equal, Key = ToWire(compare.Key) };
        switch (compare.Target)
        {
            case EtcdCompareTarget.Version:
                wire.Target = Compare.Types.CompareTarget.Version;
                wire.Version = compare.Expected;
                break;
            case EtcdCompareTarget.CreateRevision:
                wire.Target = Compare.Types.CompareTarget.Create;
                wire.CreateRevision = compare.Expected;
                break;
            default:
                wire.Target = Compare.Types.CompareTarget.Mod;
                wire.ModRevision = compare.Expected;
                break;
        }

        return wire;
    }

    private static RequestOp ToWire(EtcdOp op) => op switch
    {
        EtcdPut put => new RequestOp { RequestPut = new PutRequest { Key = ToWire(put.Key), Value = ToWire(put.Value), Lease = put.Lease } },
        EtcdGet get => new RequestOp { RequestRange = ToWire(get.Range) },
        EtcdDelete delete => new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = ToWire(delete.Key) } },
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    private static EtcdRangeResult FromWire(RangeResponse response, long revision)
    {
        EtcdEntry[] entries = new EtcdEntry[response.Kvs.Count];
        for (int i = 0; i < entries.Length; i++)
        {
            entries[i] = FromWire(response.Kvs[i]);
        }

        return new EtcdRangeResult(entries, response.More, response.Count, revision);
    }
}

using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Etcd;

internal sealed class PutScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private KV.KVClient[] _clients = [];

    public LatencyRecorder? Deliveries => null;

    public Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        return Task.CompletedTask;
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation) =>
        await _clients[client].PutAsync(
            new PutRequest { Key = _etcd.Key(number), Value = _etcd.Value }, cancellationToken: cancellation);

    public ValueTask DisposeAsync()
    {
        _etcd.Dispose();
        return ValueTask.CompletedTask;
    }
}

internal sealed class RangeScenario(string target, BenchOptions options, bool serializable) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private KV.KVClient[] _clients = [];

    public LatencyRecorder? Deliveries => null;

    public Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        return _etcd.FillAsync(cancellation);
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation) =>
        await _clients[client].RangeAsync(
            new RangeRequest { Key = _etcd.Key(number), Serializable = serializable }, cancellationToken: cancellation);

    public ValueTask DisposeAsync()
    {
        _etcd.Dispose();
        return ValueTask.CompletedTask;
    }
}

internal sealed class ListScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private KV.KVClient[] _clients = [];

    public LatencyRecorder? Deliveries => null;

    public Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        return _etcd.FillAsync(cancellation);
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation) =>
        await _clients[client].RangeAsync(
            new RangeRequest { Key = _etcd.Prefix, RangeEnd = _etcd.PrefixEnd, Limit = options.RangeLimit.Value },
            cancellationToken: cancellation);

    public ValueTask DisposeAsync()
    {
        _etcd.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>As the storage of a Kubernetes API server writes: if the revision is as expected put, else read.</summary>
internal sealed class TxnScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private readonly long[] _revisions = new long[options.Clients.Value];
    private KV.KVClient[] _clients = [];
    private ByteString[] _keys = [];

    public LatencyRecorder? Deliveries => null;

    public async Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        // A key for each client, so that a comparison fails for no other reason than a fault.
        _keys = [.. Enumerable.Range(0, options.Clients.Value).Select(i =>
            ByteString.CopyFromUtf8(_etcd.Key(i % _etcd.KeyCount).ToStringUtf8() + "-" + i))];
        for (int i = 0; i < _keys.Length; i++)
        {
            PutResponse put = await _clients[i].PutAsync(
                new PutRequest { Key = _keys[i], Value = _etcd.Value }, cancellationToken: cancellation);
            _revisions[i] = put.Header.Revision;
        }
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation)
    {
        ByteString key = _keys[client];
        TxnRequest request = new()
        {
            Compare =
            {
                new Compare
                {
                    Key = key,
                    Target = Compare.Types.CompareTarget.Mod,
                    Result = Compare.Types.CompareResult.Equal,
                    ModRevision = _revisions[client],
                },
            },
            Success = { new RequestOp { RequestPut = new PutRequest { Key = key, Value = _etcd.Value } } },
            Failure = { new RequestOp { RequestRange = new RangeRequest { Key = key } } },
        };
        TxnResponse response = await _clients[client].TxnAsync(request, cancellationToken: cancellation);
        if (!response.Succeeded)
        {
            long found = response.Responses[0].ResponseRange.Kvs.FirstOrDefault()?.ModRevision ?? 0;
            throw new HttpRequestException($"the comparison failed: expected revision {_revisions[client]}, found {found}");
        }

        _revisions[client] = response.Header.Revision;
    }

    public ValueTask DisposeAsync()
    {
        _etcd.Dispose();
        return ValueTask.CompletedTask;
    }
}

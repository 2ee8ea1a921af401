using System.Buffers.Binary;
using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Etcd;

/// <summary>Puts under a prefix that many watch. The value begins with the time of the put, so each watcher knows the delay.</summary>
internal sealed class WatchScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _watchers = [];
    private KV.KVClient[] _clients = [];

    public LatencyRecorder? Deliveries { get; } = new();

    public async Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        for (int i = 0; i < options.Watchers.Value; i++)
        {
            AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call =
                new Watch.WatchClient(_etcd.Channel(i)).Watch(cancellationToken: _stop.Token);
            WatchCreateRequest create = new() { Key = _etcd.Prefix, RangeEnd = _etcd.PrefixEnd };
            await call.RequestStream.WriteAsync(new WatchRequest { CreateRequest = create }, cancellation);
            if (!await call.ResponseStream.MoveNext(cancellation) || !call.ResponseStream.Current.Created)
            {
                throw new HttpRequestException("the watch was not created");
            }

            _watchers.Add(Task.Run(() => WatchAsync(call), CancellationToken.None));
        }
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation)
    {
        byte[] value = _etcd.Value.ToByteArray();
        BinaryPrimitives.WriteInt64LittleEndian(value, Stopwatch.GetTimestamp());
        await _clients[client].PutAsync(
            new PutRequest { Key = _etcd.Key(number), Value = UnsafeByteOperations.UnsafeWrap(value) }, cancellationToken: cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_watchers);
        _stop.Dispose();
        _etcd.Dispose();
    }

    private async Task WatchAsync(AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call)
    {
        using (call)
        {
            try
            {
                while (await call.ResponseStream.MoveNext(_stop.Token))
                {
                    foreach (Event e in call.ResponseStream.Current.Events)
                    {
                        Deliveries!.Record(BinaryPrimitives.ReadInt64LittleEndian(e.Kv.Value.Span));
                    }
                }
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is RpcException or OperationCanceledException)
            {
                // The end of the run.
            }
        }
    }
}

internal sealed class LeaseScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private readonly List<AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse>> _streams = [];
    private readonly List<long> _leases = [];

    public LatencyRecorder? Deliveries => null;

    public async Task PrepareAsync(CancellationToken cancellation)
    {
        for (int i = 0; i < options.Clients.Value; i++)
        {
            Lease.LeaseClient client = new(_etcd.Channel(i));
            LeaseGrantResponse granted = await client.LeaseGrantAsync(new LeaseGrantRequest { TTL = 600 }, cancellationToken: cancellation);
            _leases.Add(granted.ID);
            _streams.Add(client.LeaseKeepAlive(cancellationToken: CancellationToken.None));
        }
    }

    public async Task RunAsync(int client, long number, CancellationToken cancellation)
    {
        AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> stream = _streams[client];
        await stream.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = _leases[client] }, cancellation);
        if (!await stream.ResponseStream.MoveNext(cancellation) || stream.ResponseStream.Current.TTL <= 0)
        {
            throw new HttpRequestException("the lease is gone");
        }
    }

    public async ValueTask DisposeAsync()
    {
        for (int i = 0; i < _streams.Count; i++)
        {
            await _streams[i].RequestStream.CompleteAsync();
            _streams[i].Dispose();
            await new Lease.LeaseClient(_etcd.Channel(i)).LeaseRevokeAsync(new LeaseRevokeRequest { ID = _leases[i] });
        }

        _etcd.Dispose();
    }
}

using System.Buffers.Binary;
using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Etcd;

/// <summary>
/// Puts under a prefix that many watch, over connections of their own: in life too who watches is another client than who writes. An operation is
/// over when every watcher has its event, or puts would outrun what is watched, and the faster store would owe more.
/// </summary>
internal sealed class WatchScenario(string target, BenchOptions options) : IScenario
{
    private readonly EtcdConnections _etcd = new(target, options);
    private readonly EtcdConnections _watching = new(target, options);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _watchers = [];
    private readonly AwaitedEvents _awaited = new(options.Clients.Value, options.Watchers.Value);
    private KV.KVClient[] _clients = [];

    public LatencyRecorder? Deliveries { get; } = new();

    public async Task PrepareAsync(CancellationToken cancellation)
    {
        _clients = _etcd.ForClients(options.Clients.Value, static c => new KV.KVClient(c));
        for (int i = 0; i < options.Watchers.Value; i++)
        {
            AsyncDuplexStreamingCall<WatchRequest, WatchResponse> call =
                new Watch.WatchClient(_watching.Channel(i)).Watch(cancellationToken: _stop.Token);
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
        Marking.Write(value, Stopwatch.GetTimestamp(), client);
        Task delivered = _awaited.Begin(client);
        await _clients[client].PutAsync(
            new PutRequest { Key = _etcd.Key(number), Value = UnsafeByteOperations.UnsafeWrap(value) }, cancellationToken: cancellation);
        await delivered.WaitAsync(cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_watchers);
        _stop.Dispose();
        _etcd.Dispose();
        _watching.Dispose();
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
                        (long at, int client) = Marking.Read(e.Kv.Value.Span);
                        Deliveries!.Record(at);
                        _awaited.Delivered(client);
                    }
                }

                _awaited.Failed(new HttpRequestException("the server ended a watch"));
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is RpcException or OperationCanceledException)
            {
                // The end of the run.
            }
            catch (RpcException e)
            {
                _awaited.Failed(e);
            }
        }
    }

    /// <summary>What a value begins with: when it was put, and by which client.</summary>
    private static class Marking
    {
        public static void Write(Span<byte> value, long at, int client)
        {
            BinaryPrimitives.WriteInt64LittleEndian(value, at);
            BinaryPrimitives.WriteInt32LittleEndian(value[sizeof(long)..], client);
        }

        public static (long At, int Client) Read(ReadOnlySpan<byte> value) =>
            (BinaryPrimitives.ReadInt64LittleEndian(value), BinaryPrimitives.ReadInt32LittleEndian(value[sizeof(long)..]));
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

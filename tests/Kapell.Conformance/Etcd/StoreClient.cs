using System.Net;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;
using Xunit;
using Version = System.Version;

namespace Kapell.Conformance.Etcd;

/// <summary>The generated clients for one store, and short forms for what tests say often. Keys are relative to <see cref="Prefix"/>.</summary>
internal sealed class StoreClient : IDisposable
{
    private readonly GrpcChannel _channel;
    private Version? _version;

    public StoreClient(StoreProcess process)
        : this(process, process.Url)
    {
    }

    /// <param name="url">Where to ask it, when that is not its own address.</param>
    public StoreClient(StoreProcess process, string url)
    {
        Process = process;
        SocketsHttpHandler handler = new() { UseProxy = false, EnableMultipleHttp2Connections = true };
        _channel = GrpcChannel.ForAddress(url, new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
            MaxRetryAttempts = null,
        });
        Kv = new KV.KVClient(_channel);
        Watch = new Watch.WatchClient(_channel);
        Leases = new Lease.LeaseClient(_channel);
        Cluster = new Cluster.ClusterClient(_channel);
        Maintenance = new Maintenance.MaintenanceClient(_channel);
        Users = new Auth.AuthClient(_channel);
        Locks = new Kapell.Etcd.Protocol.Locks.Lock.LockClient(_channel);
        Elections = new Kapell.Etcd.Protocol.Elections.Election.ElectionClient(_channel);
    }

    public StoreProcess Process { get; }

    /// <summary>For clients that only some tests need.</summary>
    public GrpcChannel Channel => _channel;

    public KV.KVClient Kv { get; }

    public Watch.WatchClient Watch { get; }

    public Lease.LeaseClient Leases { get; }

    public Cluster.ClusterClient Cluster { get; }

    public Maintenance.MaintenanceClient Maintenance { get; }

    public Auth.AuthClient Users { get; }

    public Kapell.Etcd.Protocol.Locks.Lock.LockClient Locks { get; }

    public Kapell.Etcd.Protocol.Elections.Election.ElectionClient Elections { get; }

    /// <summary>Of the test that runs now.</summary>
    public string Prefix { get; set; } = "";

    /// <summary>The key after all keys of the test.</summary>
    public ByteString PrefixEnd => ByteString.CopyFromUtf8(Prefix[..^1] + (char)(Prefix[^1] + 1));

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Code and text of the refusal that must come.</summary>
    public static async Task<string> RefusalAsync(Func<Task> call)
    {
        RpcException refused = await Assert.ThrowsAsync<RpcException>(call);
        return $"{refused.StatusCode}: {refused.Status.Detail}";
    }

    public static Task<string> RefusalAsync<T>(AsyncUnaryCall<T> call) => RefusalAsync(() => call.ResponseAsync);

    public static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);

    public ByteString Key(string name) => ByteString.CopyFromUtf8(Prefix + name);

    /// <summary>Whether the program is of this version or newer: a few answers changed since the oldest that tests are run with.</summary>
    public async Task<bool> IsAtLeastAsync(int major, int minor)
    {
        _version ??= Version.Parse((await StatusAsync()).Version);
        return _version >= new Version(major, minor);
    }

    public async Task<StatusResponse> StatusAsync() => await Maintenance.StatusAsync(new StatusRequest(), cancellationToken: Cancellation);

    public async Task<long> RevisionAsync() => (await RangeAsync(new RangeRequest { Key = Key("?") })).Header.Revision;

    public async Task<PutResponse> PutAsync(string key, string value, long lease = 0) =>
        await PutAsync(new PutRequest { Key = Key(key), Value = Bytes(value), Lease = lease });

    public async Task<PutResponse> PutAsync(PutRequest request) => await Kv.PutAsync(request, cancellationToken: Cancellation);

    public async Task<RangeResponse> RangeAsync(RangeRequest request) => await Kv.RangeAsync(request, cancellationToken: Cancellation);

    public async Task<RangeResponse> GetAsync(string key, long revision = 0) =>
        await RangeAsync(new RangeRequest { Key = Key(key), Revision = revision });

    /// <summary>All keys of the test.</summary>
    public RangeRequest All() => new() { Key = Bytes(Prefix), RangeEnd = PrefixEnd };

    public async Task<DeleteRangeResponse> DeleteAsync(DeleteRangeRequest request) =>
        await Kv.DeleteRangeAsync(request, cancellationToken: Cancellation);

    public async Task<DeleteRangeResponse> DeleteAsync(string key) => await DeleteAsync(new DeleteRangeRequest { Key = Key(key) });

    public async Task<TxnResponse> TxnAsync(TxnRequest request) => await Kv.TxnAsync(request, cancellationToken: Cancellation);

    public async Task<LeaseGrantResponse> GrantAsync(long id, long ttl) =>
        await Leases.LeaseGrantAsync(new LeaseGrantRequest { ID = id, TTL = ttl }, cancellationToken: Cancellation);

    public async Task CompactAsync(long revision, bool physical = false) =>
        await Kv.CompactAsync(new CompactionRequest { Revision = revision, Physical = physical }, cancellationToken: Cancellation);

    /// <summary>The pairs in order as "key=value key=value", without the prefix.</summary>
    public string Show(IEnumerable<KeyValue> pairs) =>
        string.Join(' ', pairs.Select(p => $"{Short(p.Key)}={p.Value.ToStringUtf8()}"));

    public string Show(RangeResponse response) => Show(response.Kvs);

    public string Short(ByteString key) => key.ToStringUtf8()[Prefix.Length..];

    public async Task<(HttpStatusCode Status, string Body)> HttpGetAsync(string path)
    {
        using HttpResponseMessage response = await Process.Http.GetAsync(path, Cancellation);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(Cancellation));
    }

    public void Dispose()
    {
        _channel.Dispose();
        Process.Dispose();
    }
}

using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Base;
using Kapell.Bench.Light;
using Kapell.Etcd.Protocol;

namespace Kapell.Bench.Etcd;

/// <summary>A number of connections to one endpoint, and the keys and values to use there.</summary>
internal sealed class EtcdConnections : IDisposable
{
    private readonly IDisposable[] _connections;
    private readonly CallInvoker[] _invokers;
    private readonly ByteString[] _keys;

    public EtcdConnections(string url, BenchOptions options)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
        {
            throw new FlagException($"\"{url}\" is no URL of an etcd endpoint, such as http://127.0.0.1:2379");
        }

        Prng prng = new((ulong)options.Seed.Value);
        bool light = address.Scheme == "http" && options.ValueSize.Value + options.KeySize.Value < LightConnection.RequestBytesMax / 2;
        _connections = [.. Enumerable.Range(0, options.Connections.Value).Select(_ => light ? (IDisposable)new LightInvoker(address) : Open(address))];
        _invokers = [.. _connections.Select(static c => c as CallInvoker ?? ((GrpcChannel)c).CreateCallInvoker())];
        string prefix = $"bench/{prng.NextUInt64() & 0xffffff:x6}/";
        Prefix = ByteString.CopyFromUtf8(prefix);
        PrefixEnd = ByteString.CopyFromUtf8(prefix[..^1] + "0");
        _keys = [.. Enumerable.Range(0, options.Keys.Value).Select(i =>
            ByteString.CopyFromUtf8(prefix + i.ToString("x8").PadLeft(Math.Max(8, options.KeySize.Value - prefix.Length), '0')))];
        byte[] value = new byte[options.ValueSize.Value];
        for (int i = 0; i < value.Length; i++)
        {
            value[i] = (byte)('a' + prng.NextInt(0, 26));
        }

        Value = ByteString.CopyFrom(value);
    }

    public ByteString Prefix { get; }

    public ByteString PrefixEnd { get; }

    public ByteString Value { get; }

    public int KeyCount => _keys.Length;

    public ByteString Key(long number) => _keys[(int)(number % _keys.Length)];

    public CallInvoker Channel(int client) => _invokers[client % _invokers.Length];

    /// <summary>A client for each of the callers, spread over the connections.</summary>
    public T[] ForClients<T>(int clients, Func<CallInvoker, T> make) => [.. Enumerable.Range(0, clients).Select(c => make(Channel(c)))];

    /// <summary>Writes every key once.</summary>
    public async Task FillAsync(CancellationToken cancellation)
    {
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = 32, CancellationToken = cancellation };
        await Parallel.ForAsync(0, _keys.Length, parallel, async (i, token) =>
        {
            KV.KVClient client = new(Channel(i));
            await client.PutAsync(new PutRequest { Key = _keys[i], Value = Value }, cancellationToken: token);
        });
    }

    public void Dispose()
    {
        foreach (IDisposable connection in _connections)
        {
            connection.Dispose();
        }
    }

    private static GrpcChannel Open(Uri address) => GrpcChannel.ForAddress(address, new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler { EnableMultipleHttp2Connections = false, PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan },
        DisposeHttpClient = true,
        MaxReceiveMessageSize = null,
    });
}

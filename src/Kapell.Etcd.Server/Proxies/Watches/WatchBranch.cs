using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Watches;

/// <summary>One client's stream: its watches by its own numbers, and what waits to be sent to it.</summary>
internal sealed class WatchBranch
{
    // A client that does not read must not fill the proxy: it is cut off, and goes on from where it was on a new stream.
    private const int ResponsesMax = 10_000;
    private const long BytesMax = 64 << 20;

    private readonly HashSet<WatchReceiver> _receivers = [];
    private readonly Dictionary<long, WatchReceiver> _named = [];
    private readonly Channel<(WatchResponse Response, int Bytes)> _waiting =
        Channel.CreateBounded<(WatchResponse, int)>(new BoundedChannelOptions(ResponsesMax) { SingleReader = true });

    private long _nextId;
    private long _bytes; // Of what waits.

    public bool Has(long id) => _named.ContainsKey(id);

    public WatchReceiver? Find(long id) => _named.GetValueOrDefault(id);

    /// <param name="receiver">Has its number already if the client has chosen one.</param>
    public void Add(WatchReceiver receiver)
    {
        _receivers.Add(receiver);
        if (receiver.Id is { } id)
        {
            _named.Add(id, receiver);
        }
    }

    /// <summary>The member has begun it: if it has no number it gets the next one. Those that are refused take none.</summary>
    public void Name(WatchReceiver receiver)
    {
        if (receiver.Id is null)
        {
            while (_named.ContainsKey(_nextId))
            {
                _nextId++;
            }

            receiver.Id = _nextId++;
            _named.Add(receiver.Id.Value, receiver);
        }
    }

    public void Remove(WatchReceiver receiver)
    {
        _receivers.Remove(receiver);
        if (receiver.Id is { } id)
        {
            _named.Remove(id);
        }
    }

    public WatchReceiver[] RemoveAll()
    {
        WatchReceiver[] all = [.. _receivers];
        _receivers.Clear();
        _named.Clear();
        return all;
    }

    /// <summary>To be sent after all that was given before. Never waits.</summary>
    /// <param name="bytes">About how much it is.</param>
    public void Give(WatchResponse response, int bytes)
    {
        if (Interlocked.Add(ref _bytes, bytes) > BytesMax || !_waiting.Writer.TryWrite((response, bytes)))
        {
            End(new RpcException(new Status(StatusCode.Unavailable, "etcd grpc-proxy: the client does not take its events")));
        }
    }

    /// <summary>After what waits the stream ends so; null: well.</summary>
    public void End(Exception? why) => _waiting.Writer.TryComplete(why);

    /// <exception cref="RpcException">The end that was given.</exception>
    public async Task SendAsync(IServerStreamWriter<byte[]> to, CancellationToken cancellation)
    {
        await foreach ((WatchResponse response, int bytes) in _waiting.Reader.ReadAllAsync(cancellation))
        {
            await to.WriteAsync(Google.Protobuf.MessageExtensions.ToByteArray(response), cancellation);
            Interlocked.Add(ref _bytes, -bytes);
        }
    }
}

using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;

namespace Kapell.Etcd.Server.Proxies.Shared;

/// <summary>One client's stream: what waits to be sent to it.</summary>
internal class Branch
{
    // A client that does not read must not fill the proxy: it is cut off, and goes on from where it was on a new stream.
    private const int ResponsesMax = 10_000;
    private const long BytesMax = 64 << 20;

    private readonly Channel<(IMessage Response, int Bytes)> _waiting =
        Channel.CreateBounded<(IMessage, int)>(new BoundedChannelOptions(ResponsesMax) { SingleReader = true });

    private long _bytes; // Of what waits.

    /// <summary>As much of it is under way as may be: it is heard again later. May be asked at any time.</summary>
    public virtual bool IsBusy => false;

    /// <summary>To be sent after all that was given before. Never waits.</summary>
    /// <param name="bytes">About how much it is.</param>
    public void Give(IMessage response, int bytes)
    {
        if (Interlocked.Add(ref _bytes, bytes) > BytesMax || !_waiting.Writer.TryWrite((response, bytes)))
        {
            End(new RpcException(new Status(StatusCode.Unavailable, "etcd grpc-proxy: the client does not take what it is sent")));
        }
    }

    /// <summary>After what waits the stream ends so; null: well.</summary>
    public void End(Exception? why) => _waiting.Writer.TryComplete(why);

    /// <exception cref="RpcException">The end that was given.</exception>
    public async Task SendAsync(IServerStreamWriter<byte[]> to, CancellationToken cancellation)
    {
        await foreach ((IMessage response, int bytes) in _waiting.Reader.ReadAllAsync(cancellation))
        {
            await to.WriteAsync(response.ToByteArray(), cancellation);
            Interlocked.Add(ref _bytes, -bytes);
        }
    }
}

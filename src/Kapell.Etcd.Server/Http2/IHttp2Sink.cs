using System.IO.Pipelines;
using System.Net.Sockets;

namespace Kapell.Etcd.Server.Http2;

/// <summary>Where the bytes of a connection go. One send at a time.</summary>
internal interface IHttp2Sink
{
    /// <summary>Ends when the bytes may be overwritten; false when the other side takes no more.</summary>
    ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes);
}

/// <summary>Straight into the socket: through the transport's pipe they would be copied once more, four kilobytes at a time.</summary>
internal sealed class SocketSink(Socket socket) : IHttp2Sink
{
    /// <exception cref="SocketException">The connection is broken.</exception>
    /// <exception cref="ObjectDisposedException">It was closed.</exception>
    public async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None)..];
        }

        return true;
    }
}

/// <summary>What is to be encrypted, or has no socket.</summary>
internal sealed class PipeSink(PipeWriter output) : IHttp2Sink
{
    public async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        FlushResult result = await output.WriteAsync(bytes);
        return !result.IsCompleted && !result.IsCanceled;
    }
}

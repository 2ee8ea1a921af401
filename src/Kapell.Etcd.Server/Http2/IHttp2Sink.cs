using System.IO.Pipelines;

namespace Kapell.Etcd.Server.Http2;

/// <summary>Where the bytes of a connection go. One send at a time.</summary>
internal interface IHttp2Sink
{
    /// <summary>Ends when the bytes may be overwritten; false when the other side takes no more.</summary>
    ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes);
}

/// <summary>What Kestrel's transport has accepted: it is to be encrypted, mostly.</summary>
internal sealed class PipeSink(PipeWriter output) : IHttp2Sink
{
    public async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        FlushResult result = await output.WriteAsync(bytes);
        return !result.IsCompleted && !result.IsCanceled;
    }
}

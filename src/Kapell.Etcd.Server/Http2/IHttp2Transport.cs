using System.Buffers;
using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace Kapell.Etcd.Server.Http2;

/// <summary>Where the bytes of a connection go. One send at a time.</summary>
internal interface IHttp2Sink
{
    /// <summary>Ends when the bytes may be overwritten; false when the other side takes no more.</summary>
    /// <exception cref="IOException">The connection is broken.</exception>
    /// <exception cref="ObjectDisposedException">It was closed.</exception>
    ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes);
}

/// <summary>Who takes what comes on a connection.</summary>
internal interface IByteTaker
{
    /// <summary>
    /// Called with all that has come and was not taken, which is gone when it returns; of nothing new when somebody wanted the reader awake.
    /// Moves the beginning behind what it took.
    /// </summary>
    /// <returns>False: this was the last, the connection ends.</returns>
    bool Take(ref ReadOnlySequence<byte> bytes, bool isWake);
}

/// <summary>A connection's bytes, both ways.</summary>
internal interface IHttp2Transport : IHttp2Sink
{
    /// <summary>Calls the taker, never twice at a time. Ends when it wants no more, or the other side has ended.</summary>
    /// <exception cref="IOException">The connection broke.</exception>
    /// <exception cref="OperationCanceledException">It was aborted.</exception>
    /// <exception cref="Exception">What the taker threw.</exception>
    Task ReadAsync(IByteTaker taker);

    /// <summary>The taker is called, though nothing may have come.</summary>
    void Wake();
}

/// <summary>A connection that Kestrel's transport has accepted; mostly it is encrypted.</summary>
internal sealed class PipeTransport(ConnectionContext connection) : IHttp2Transport
{
    private readonly IDuplexPipe _pipe = connection.Transport;

    public async Task ReadAsync(IByteTaker taker)
    {
        bool goesOn = true;
        while (goesOn)
        {
            ReadResult read = await _pipe.Input.ReadAsync(connection.ConnectionClosed);
            ReadOnlySequence<byte> buffer = read.Buffer;
            goesOn = taker.Take(ref buffer, read.IsCanceled) && !read.IsCompleted;
            _pipe.Input.AdvanceTo(buffer.Start, buffer.End);
        }
    }

    public void Wake() => _pipe.Input.CancelPendingRead();

    public async ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        FlushResult result = await _pipe.Output.WriteAsync(bytes);
        return !result.IsCompleted && !result.IsCanceled;
    }
}

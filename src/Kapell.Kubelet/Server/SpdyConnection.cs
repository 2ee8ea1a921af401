using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Threading.Channels;

namespace Kapell.Kubelet.Server;

/// <summary>
/// The client side of one SPDY/3.1 connection to the runtime's streaming server: opens streams, sends data, and hands out what arrives.
/// Both sides ignore window updates, as Go's spdystream does; the bounded channels below hold back a fast sender through TCP.
/// </summary>
internal sealed class SpdyConnection(Stream stream)
{
    private const int FrameBytesMax = 16 * 1024 * 1024 - 1;
    private const int PendingMax = 64;
    private readonly ConcurrentDictionary<uint, SpdyStream> _streams = new();
    private readonly SemaphoreSlim _sending = new(1);
    private uint _nextId = 1;

    /// <summary>Opens a stream and waits until the server has it.</summary>
    public async Task<SpdyStream> OpenAsync(IReadOnlyList<(string Name, string Value)> headers, CancellationToken cancellation)
    {
        uint id = _nextId;
        _nextId += 2;
        SpdyStream opened = new(this, id, Channel.CreateBounded<byte[]>(PendingMax));
        _streams[id] = opened;
        await SendAsync(SpdyFrames.OpenStream(id, headers, firstBlock: id == 1), cancellation);
        await opened.Accepted.WaitAsync(cancellation);
        return opened;
    }

    public async Task SendAsync(byte[] frame, CancellationToken cancellation)
    {
        await _sending.WaitAsync(cancellation);
        try
        {
            await stream.WriteAsync(frame, cancellation);
        }
        finally
        {
            _sending.Release();
        }
    }

    /// <summary>Reads frames until the server ends the connection; then every stream is at its end.</summary>
    public async Task ReadAsync(CancellationToken cancellation)
    {
        byte[] head = new byte[SpdyFrames.HeadBytes];
        try
        {
            while (await stream.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, cancellation) == head.Length)
            {
                uint word = BinaryPrimitives.ReadUInt32BigEndian(head);
                byte flags = head[4];
                int length = (int)(BinaryPrimitives.ReadUInt32BigEndian(head.AsSpan(4)) & 0xFFFFFF);
                if (length > FrameBytesMax)
                {
                    throw new IOException("a SPDY frame is too long");
                }

                byte[] body = new byte[length];
                await stream.ReadExactlyAsync(body, cancellation);
                if ((word & 0x80000000) == 0)
                {
                    await DataAsync(word, flags, body, cancellation);
                }
                else if (!await ControlAsync((ushort)(word & 0xFFFF), flags, body, cancellation))
                {
                    return;
                }
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The end of the connection, however it came.
        }
        finally
        {
            foreach (SpdyStream open in _streams.Values)
            {
                open.End();
            }
        }
    }

    private async Task DataAsync(uint id, byte flags, byte[] body, CancellationToken cancellation)
    {
        if (!_streams.TryGetValue(id, out SpdyStream? to))
        {
            return;
        }

        if (body.Length > 0)
        {
            await to.Incoming.Writer.WriteAsync(body, cancellation);
        }

        if ((flags & SpdyFrames.FlagFin) != 0)
        {
            to.End();
        }
    }

    private async Task<bool> ControlAsync(ushort type, byte flags, byte[] body, CancellationToken cancellation)
    {
        uint id = body.Length >= 4 ? BinaryPrimitives.ReadUInt32BigEndian(body) & 0x7FFFFFFF : 0;
        _streams.TryGetValue(id, out SpdyStream? about);
        switch (type)
        {
            case SpdyFrames.SynReply:
                about?.Accept();
                if ((flags & SpdyFrames.FlagFin) != 0)
                {
                    about?.End();
                }

                return true;
            case SpdyFrames.RstStream:
                about?.End();
                return true;
            case SpdyFrames.Ping when body.Length >= 4:
                await SendAsync(SpdyFrames.PingReply(body), cancellation);
                return true;
            default:
                // GOAWAY comes before the last data is through; SETTINGS, HEADERS and WINDOW_UPDATE change nothing here.
                return true;
        }
    }
}

/// <summary>One stream of a <see cref="SpdyConnection"/>; <see cref="Incoming"/> completes when the other side is done.</summary>
internal sealed class SpdyStream(SpdyConnection connection, uint id, Channel<byte[]> incoming)
{
    private readonly TaskCompletionSource _accepted = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Channel<byte[]> Incoming { get; } = incoming;

    public Task Accepted => _accepted.Task;

    public Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation) =>
        connection.SendAsync(SpdyFrames.Data(id, bytes.Span, fin: false), cancellation);

    /// <summary>Half-closes: the process in the container sees the end of its input.</summary>
    public Task CloseAsync(CancellationToken cancellation) => connection.SendAsync(SpdyFrames.Data(id, [], fin: true), cancellation);

    public void Accept() => _accepted.TrySetResult();

    public void End()
    {
        _accepted.TrySetException(new IOException("the container runtime refused a stream"));
        _ = _accepted.Task.Exception; // Seen by whoever opened the stream, if anybody still waits.
        Incoming.Writer.TryComplete();
    }
}

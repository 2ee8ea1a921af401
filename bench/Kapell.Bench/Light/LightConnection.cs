using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Bench.Light;

/// <summary>
/// One HTTP/2 connection for gRPC over plain TCP, as cheap as can be: a load generator shares its cores with the server that it measures.
/// Whoever waits for an answer goes on in the thread that reads the socket, and what is asked in answer to one read goes out in one write.
/// </summary>
internal sealed class LightConnection : IDisposable
{
    /// <summary>Of one request's message: it must fit into the window that a stream begins with.</summary>
    public const int RequestBytesMax = 48 * 1024;

    private const int WindowDefault = 65535;
    private const int OurWindow = 1 << 30;
    private const int FrameBytes = 16384;
    private const int HeaderBytesMax = 64 * 1024;

    private readonly Socket _socket;
    private readonly Lock _lock = new(); // Guards the fields below, but for those of the reader.
    private readonly Dictionary<int, LightCall> _calls = [];
    private readonly Queue<(LightCall Call, byte[] Message, bool Ends)> _held = new();
    private readonly LightHeaders _headers;
    private ArrayBufferWriter<byte> _filling = new(64 * 1024);
    private ArrayBufferWriter<byte> _flushing = new(64 * 1024);
    private long _window = WindowDefault;
    private int _lastStream = -1;
    private bool _isFlushing;
    private Status? _broken;
    private CancellationToken _cancellation;

    // The reader's.
    private readonly HpackBlocks _hpack = new(new HpackDecoder(4096, HeaderBytesMax));
    private ArrayBufferWriter<byte>? _headerBlock;
    private int _unacknowledged;
    private int _batchThread;

    private LightConnection(Socket socket, string authority) => (_socket, _headers) = (socket, new LightHeaders(authority));

    /// <exception cref="RpcException">Nobody listens there.</exception>
    public static LightConnection Open(Uri address)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            socket.Connect(address.Host, address.Port);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new RpcException(new Status(StatusCode.Unavailable, e.Message));
        }

        LightConnection connection = new(socket, address.Authority);
        connection.Begin();
        return connection;
    }

    /// <summary>Headers, when they have not gone out yet, and a message of the call; empty for none.</summary>
    /// <param name="message">Not longer than <see cref="RequestBytesMax"/>.</param>
    /// <param name="cancellation">Ends the connection.</param>
    public void Send(LightCall call, ReadOnlySpan<byte> message, bool ends, CancellationToken cancellation)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(message.Length, RequestBytesMax);
        lock (_lock)
        {
            if (_broken is null)
            {
                Watch(cancellation);
                if (_held.Count > 0 || message.Length > _window)
                {
                    _held.Enqueue((call, message.ToArray(), ends));
                }
                else
                {
                    Put(call, message, ends);
                }

                Kick();
                return;
            }
        }

        call.End(_broken.Value);
    }

    /// <summary>The call is of no more interest.</summary>
    public void Cancel(LightCall call)
    {
        lock (_lock)
        {
            if (_calls.Remove(call.Stream))
            {
                Span<byte> code = stackalloc byte[4];
                BinaryPrimitives.WriteUInt32BigEndian(code, (uint)Http2ErrorCode.Cancel);
                Frame(FrameType.ResetStream, 0, call.Stream, code);
                Kick();
            }
        }

        call.End(new Status(StatusCode.Cancelled, "cancelled"));
    }

    public void Dispose() => Break(new Status(StatusCode.Cancelled, "the connection was closed"));

    private void Begin()
    {
        Span<byte> settings = stackalloc byte[12];
        BinaryPrimitives.WriteUInt16BigEndian(settings, 2); // No pushes.
        BinaryPrimitives.WriteInt32BigEndian(settings[2..], 0);
        BinaryPrimitives.WriteUInt16BigEndian(settings[6..], 4);
        BinaryPrimitives.WriteInt32BigEndian(settings[8..], OurWindow);
        lock (_lock)
        {
            _filling.Write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8);
            Frame(FrameType.Settings, 0, 0, settings);
            WindowUpdate(0, OurWindow - WindowDefault);
            Kick();
        }

        _ = Task.Run(ReadAsync);
    }

    // One token in practice; its registration lives as long as the process's work.
    private void Watch(CancellationToken cancellation)
    {
        if (cancellation != _cancellation && cancellation.CanBeCanceled)
        {
            _cancellation = cancellation;
            cancellation.UnsafeRegister(static (c, _) => ((LightConnection)c!).Break(new Status(StatusCode.Cancelled, "cancelled")), this);
        }
    }

    private void Put(LightCall call, ReadOnlySpan<byte> message, bool ends)
    {
        if (call.Stream == 0)
        {
            _lastStream += 2;
            call.Stream = _lastStream;
            _calls[call.Stream] = call;
            Frame(FrameType.Headers, FrameHead.EndHeaders, call.Stream, _headers.Encode(call.Path));
        }

        _window -= message.Length;
        do
        {
            ReadOnlySpan<byte> piece = message[..Math.Min(FrameBytes, message.Length)];
            message = message[piece.Length..];
            Frame(FrameType.Data, ends && message.IsEmpty ? FrameHead.EndStream : (byte)0, call.Stream, piece);
        }
        while (!message.IsEmpty);
    }

    private void Frame(FrameType type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        Span<byte> into = _filling.GetSpan(FrameHead.Bytes + payload.Length);
        new FrameHead(payload.Length, type, flags, stream).Write(into);
        payload.CopyTo(into[FrameHead.Bytes..]);
        _filling.Advance(FrameHead.Bytes + payload.Length);
    }

    private void WindowUpdate(int stream, int bytes)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, bytes);
        Frame(FrameType.WindowUpdate, 0, stream, payload);
    }

    // While the reader hands out answers, what they lead to is collected.
    private void Kick()
    {
        if (!_isFlushing && _filling.WrittenCount > 0 && _batchThread != Environment.CurrentManagedThreadId)
        {
            _isFlushing = true;
            _ = FlushAsync();
        }
    }

    private async Task FlushAsync()
    {
        try
        {
            while (Swap())
            {
                for (ReadOnlyMemory<byte> rest = _flushing.WrittenMemory; rest.Length > 0;)
                {
                    rest = rest[await _socket.SendAsync(rest, SocketFlags.None)..];
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            Break(new Status(StatusCode.Unavailable, e.Message));
        }
    }

    private bool Swap()
    {
        lock (_lock)
        {
            _isFlushing = _filling.WrittenCount > 0 && _broken is null;
            if (_isFlushing)
            {
                (_filling, _flushing) = (_flushing, _filling);
                _filling.ResetWrittenCount();
            }

            return _isFlushing;
        }
    }

    private async Task ReadAsync()
    {
        byte[] buffer = new byte[256 * 1024];
        int filled = 0;
        try
        {
            while (true)
            {
                ValueTask<int> receiving = _socket.ReceiveAsync(buffer.AsMemory(filled), SocketFlags.None);
                bool wasThere = receiving.IsCompleted;
                int read = await receiving;
                if (read == 0)
                {
                    break;
                }

                filled += read;
                int taken = TakeAll(buffer.AsSpan(0, filled));
                buffer.AsSpan(taken, filled - taken).CopyTo(buffer);
                filled -= taken;
                if (wasThere)
                {
                    // The server sends faster than this reads: the other connections have their turn, or their answers would seem late.
                    await Task.Yield();
                }
            }

            Break(new Status(StatusCode.Unavailable, "the server closed the connection"));
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or HpackException or Http2Exception)
        {
            Break(new Status(StatusCode.Unavailable, e.Message));
        }
    }

    private int TakeAll(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        _batchThread = Environment.CurrentManagedThreadId;
        while (bytes.Length - at >= FrameHead.Bytes)
        {
            FrameHead head = FrameHead.Read(bytes[at..]);
            if (head.Length > FrameBytes)
            {
                throw new Http2Exception(Http2ErrorCode.FrameSizeError, "a frame larger than allowed");
            }

            if (bytes.Length - at < FrameHead.Bytes + head.Length)
            {
                break;
            }

            Take(head, bytes.Slice(at + FrameHead.Bytes, head.Length));
            at += FrameHead.Bytes + head.Length;
        }

        _batchThread = 0;
        lock (_lock)
        {
            if (_unacknowledged > OurWindow / 2)
            {
                WindowUpdate(0, _unacknowledged);
                _unacknowledged = 0;
            }

            Kick();
        }

        return at;
    }

    private void Take(FrameHead head, ReadOnlySpan<byte> payload)
    {
        switch (head.Type)
        {
            case FrameType.Data:
                _unacknowledged += payload.Length;
                Find(head.Stream)?.Data(payload);
                End(head);
                break;
            case FrameType.Headers:
            case FrameType.Continuation:
                TakeHeaders(head, payload);
                break;
            case FrameType.ResetStream:
                Remove(head.Stream)?.End(new Status(StatusCode.Unavailable, $"the stream was reset: {BinaryPrimitives.ReadUInt32BigEndian(payload)}"));
                break;
            case FrameType.Settings when !head.Has(FrameHead.Ack):
                lock (_lock)
                {
                    Frame(FrameType.Settings, FrameHead.Ack, 0, default);
                }

                break;
            case FrameType.Ping when !head.Has(FrameHead.Ack):
                lock (_lock)
                {
                    Frame(FrameType.Ping, FrameHead.Ack, 0, payload);
                }

                break;
            case FrameType.GoAway:
                throw new Http2Exception(Http2ErrorCode.NoError, "the server goes away");
            case FrameType.WindowUpdate when head.Stream == 0:
                Allow(BinaryPrimitives.ReadInt32BigEndian(payload));
                break;
            default:
                break; // Windows of streams: a request is smaller than the one it begins with.
        }
    }

    private void Allow(int bytes)
    {
        lock (_lock)
        {
            _window += bytes;
            while (_held.TryPeek(out (LightCall Call, byte[] Message, bool Ends) next) && next.Message.Length <= _window)
            {
                _held.Dequeue();
                Put(next.Call, next.Message, next.Ends);
            }
        }
    }

    private void TakeHeaders(FrameHead head, ReadOnlySpan<byte> payload)
    {
        if (!head.Has(FrameHead.EndHeaders) || _headerBlock is not null)
        {
            _headerBlock ??= new ArrayBufferWriter<byte>();
            _headerBlock.Write(payload);
            if (!head.Has(FrameHead.EndHeaders))
            {
                return;
            }
        }

        List<HpackHeader> fields = _hpack.Decode(_headerBlock is null ? payload : _headerBlock.WrittenSpan);
        _headerBlock = null;
        LightCall? call = Find(head.Stream);
        if (call is not null && LightHeaders.StatusOf(fields) is { } status)
        {
            Remove(head.Stream);
            call.End(status);
            return;
        }

        End(head);
    }

    // A stream that ends without the status of gRPC.
    private void End(FrameHead head)
    {
        if (head.Has(FrameHead.EndStream))
        {
            Remove(head.Stream)?.End(new Status(StatusCode.Internal, "the server ended the stream without a status"));
        }
    }

    private LightCall? Find(int stream)
    {
        lock (_lock)
        {
            return _calls.GetValueOrDefault(stream);
        }
    }

    private LightCall? Remove(int stream)
    {
        lock (_lock)
        {
            return _calls.Remove(stream, out LightCall? call) ? call : null;
        }
    }

    private void Break(Status status)
    {
        LightCall[] left;
        lock (_lock)
        {
            _broken ??= status;
            left = [.. _calls.Values, .. _held.Select(static h => h.Call)];
            _calls.Clear();
            _held.Clear();
        }

        _socket.Dispose();
        foreach (LightCall call in left)
        {
            call.End(status);
        }
    }
}

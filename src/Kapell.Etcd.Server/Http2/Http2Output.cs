using System.Buffers;
using System.Buffers.Binary;
using Kapell.Base;
using Kapell.Etcd.Server.Hosting;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// What goes out on one connection: frames of all streams in one buffer, written by whoever has something, flushed by one at a time; what
/// comes while a flush is under way goes with the next. Holds data back as the other side's windows demand (RFC 9113 §5.2).
/// </summary>
internal sealed class Http2Output : IThreadPoolWorkItem, IDeferred
{
    public const int WindowDefault = 65535;
    private const int FrameBytesDefault = 16384;
    private const int FrameBytesMax = 1 << 20;

    // A connection that has so much unread does not read: whoever waits for room waits, whoever does not is cut off.
    private const int BufferedBytesMax = 64 << 20;
    private const int BufferedBytesFull = 256 << 10; // More goes out no faster, and an answer would stand behind it.
    private const int KeptCapacity = 1 << 20;

    private const int PongBytes = 8;

    // Of one stream before the next has its turn: what is small does not wait long behind what is large.
    private const int TurnBytes = 64 << 10;

    private readonly IHttp2Sink _sink;
    private readonly Action<Http2Stream> _closed;
    private readonly Action<Exception?> _ended;
    private readonly HeldPongs? _pongs;
    private readonly Lock _lock = new(); // Guards the fields below, and the outgoing half of every stream.

    // Streams that wait for room in the buffer or in the connection's window; not those that wait for a window of their own.
    private readonly Queue<Http2Stream> _blocked = new();
    private readonly Queue<(Http2Stream Stream, TaskCompletionSource Room)> _roomWaiters = new();
    private ArrayBufferWriter<byte> _filling = new(16 * 1024);
    private ArrayBufferWriter<byte> _flushing = new(16 * 1024);
    private long _window = WindowDefault;
    private int _streamWindow = WindowDefault;
    private int _frameBytes = FrameBytesDefault;
    private TaskCompletionSource? _drained;
    private bool _isFlushing;
    private bool _isEnded;
    private int _outgoing; // Messages of all streams that wait.
    private bool _sentData; // Since the last ping.
    private readonly byte[] _held = new byte[4 * PongBytes]; // What answers to pings say that wait.
    private int _heldBytes;
    private long _heldSince;
    private bool _isListed;

    /// <param name="closed">Told, under the lock, when a stream has sent its last frame.</param>
    /// <param name="ended">Told when the connection takes nothing any more.</param>
    /// <param name="pongs">Where it is noted that answers to pings wait; null: none waits.</param>
    public Http2Output(IHttp2Sink sink, Action<Http2Stream> closed, Action<Exception?> ended, HeldPongs? pongs = null) =>
        (_sink, _closed, _ended, _pongs) = (sink, closed, ended, pongs);

    /// <summary>Of new streams; set by the other side.</summary>
    public int StreamWindow => Volatile.Read(ref _streamWindow);

    public void Frame(FrameType type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        lock (_lock)
        {
            Put(type, flags, stream, payload);
            Kick();
        }
    }

    /// <summary>The answer to a ping; one that comes because of data may be held for a while.</summary>
    public void Pong(ReadOnlySpan<byte> data)
    {
        Check.That(data.Length == PongBytes);
        lock (_lock)
        {
            bool mayWait = _sentData && _outgoing == 0 && _heldBytes < _held.Length && _pongs is not null;
            _sentData = false;
            if (!mayWait)
            {
                PutHeld();
                Put(FrameType.Ping, FrameHead.Ack, 0, data);
                Kick();
                return;
            }

            data.CopyTo(_held.AsSpan(_heldBytes));
            if (_heldBytes == 0)
            {
                _heldSince = _pongs!.Time.GetTimestamp();
            }

            _heldBytes += PongBytes;
            if (!_isListed)
            {
                _isListed = true;
                _pongs!.Add(this);
            }
        }
    }

    /// <summary>They have waited long enough.</summary>
    public void LetPongsGo()
    {
        lock (_lock)
        {
            _isListed = false;
            PutHeld();
            Start();
        }
    }

    public void Reset(int stream, Http2ErrorCode code)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(payload, (uint)code);
        Frame(FrameType.ResetStream, 0, stream, payload);
    }

    /// <param name="lastStream">Of the other side's, that is or will be answered.</param>
    public void GoAway(Http2ErrorCode code, int lastStream)
    {
        Span<byte> payload = stackalloc byte[8];
        BinaryPrimitives.WriteInt32BigEndian(payload, lastStream);
        BinaryPrimitives.WriteUInt32BigEndian(payload[4..], (uint)code);
        try
        {
            Frame(FrameType.GoAway, 0, 0, payload);
        }
        catch (Http2Exception)
        {
            // Nobody reads anyhow.
            _ended(null);
        }
    }

    public void WindowUpdate(int stream, int bytes)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, bytes);
        Frame(FrameType.WindowUpdate, 0, stream, payload);
    }

    /// <summary>
    /// Headers (empty for none), data and trailers (empty for none) of a stream, in this order; trailers or <paramref name="ends"/> end it.
    /// The data must not change until it has been sent; its <paramref name="owner"/> gets it back then.
    /// </summary>
    /// <returns>Whether the stream has room for more; if not, <see cref="RoomAsync"/> before the next message of a long one.</returns>
    public bool Send(Http2Stream stream, ReadOnlySpan<byte> headers, ReadOnlyMemory<byte> data, ReadOnlyMemory<byte> trailers, Lent owner, bool ends)
    {
        lock (_lock)
        {
            if (_isEnded || stream.IsSendClosed)
            {
                owner.GiveBack();
                return true;
            }

            if (headers.Length > 0)
            {
                Put(FrameType.Headers, FrameHead.EndHeaders, stream.Id, headers);
            }

            ends |= trailers.Length > 0;
            if (CanPutWhole(stream, data.Length))
            {
                PutWhole(stream, data.Span, trailers.Span, ends);
                owner.GiveBack();
            }
            else
            {
                stream.Outgoing.Enqueue(new Outgoing(data, trailers, owner, ends));
                _outgoing++;
                stream.OutgoingBytes += data.Length;
                Pump(stream);
                PumpBlocked();
            }

            Kick();
            return HasRoom(stream);
        }
    }

    /// <summary>Ends when little of the stream waits to be sent, whatever waits of others, or when the stream or the connection is over.</summary>
    public Task RoomAsync(Http2Stream stream)
    {
        lock (_lock)
        {
            if (HasRoom(stream))
            {
                return Task.CompletedTask;
            }

            TaskCompletionSource room = new(TaskCreationOptions.RunContinuationsAsynchronously);
            _roomWaiters.Enqueue((stream, room));
            return room.Task;
        }
    }

    /// <summary>No more of this stream: what it still had to send is dropped.</summary>
    public void Close(Http2Stream stream)
    {
        lock (_lock)
        {
            Drop(stream);
            Release();
        }
    }

    /// <summary>The other side allows more on the connection (0) or a stream.</summary>
    public void Allow(Http2Stream? stream, int bytes)
    {
        lock (_lock)
        {
            if (stream is null)
            {
                _window += bytes;
                Demand(_window);
            }
            else
            {
                stream.SendWindow += bytes;
                if (stream.SendWindow > int.MaxValue)
                {
                    Drop(stream);
                    Put(FrameType.ResetStream, 0, stream.Id, [0, 0, 0, (byte)Http2ErrorCode.FlowControlError]);
                }

                Wake(stream);
            }

            PumpBlocked();
            Kick();
        }
    }

    public void Configure(int? streamWindow, int? frameBytes, IEnumerable<Http2Stream> streams)
    {
        lock (_lock)
        {
            if (streamWindow is { } window)
            {
                int difference = window - _streamWindow;
                _streamWindow = window;
                foreach (Http2Stream stream in streams)
                {
                    stream.SendWindow += difference;
                    Demand(stream.SendWindow);
                    Wake(stream);
                }
            }

            if (frameBytes is { } bytes)
            {
                _frameBytes = Math.Min(bytes, FrameBytesMax);
            }

            PumpBlocked();
            Kick();
        }
    }

    /// <summary>Nothing is sent any more.</summary>
    public void End()
    {
        lock (_lock)
        {
            _isEnded = true;
            _drained?.TrySetResult();
            Release();
        }
    }

    /// <summary>The last words: ends when what is there has been sent, or cannot be.</summary>
    public async Task FinishAsync(TimeSpan patience, TimeProvider time)
    {
        TaskCompletionSource drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock)
        {
            if (_isEnded || (!_isFlushing && _filling.WrittenCount == 0))
            {
                drained.SetResult();
            }

            _drained = drained;
            PutHeld();
            Kick();
        }

        try
        {
            await drained.Task.WaitAsync(patience, time);
        }
        catch (TimeoutException)
        {
            // The other side does not read; it is not waited for.
        }

        End();
    }

    void IThreadPoolWorkItem.Execute() => Flush();

    void IDeferred.Run() => Flush();

    /// <summary>The flusher: one at a time, by the one who set <see cref="_isFlushing"/> or for him. Goes on by itself when it has to wait.</summary>
    private async void Flush()
    {
        try
        {
            while (Swap() is { } batch)
            {
                if (!await _sink.SendAsync(batch.WrittenMemory))
                {
                    End();
                    _ended(null);
                    return;
                }
            }
        }
        catch (Exception e)
        {
            End();
            _ended(e);
        }
    }

    private ArrayBufferWriter<byte>? Swap()
    {
        lock (_lock)
        {
            if (_filling.WrittenCount == 0 || _isEnded)
            {
                _isFlushing = false;
                _drained?.TrySetResult();
                Release();
                return null;
            }

            // What waited half its time goes along.
            if (_heldBytes > 0 && _pongs!.Time.GetElapsedTime(_heldSince) >= HeldPongs.LongestWait / 2)
            {
                PutHeld();
            }

            (_filling, _flushing) = (_flushing, _filling);
            if (_filling.Capacity > KeptCapacity)
            {
                _filling = new ArrayBufferWriter<byte>(16 * 1024);
            }
            else
            {
                _filling.ResetWrittenCount();
            }

            Release();
            PumpBlocked();
            return _flushing;
        }
    }

    private void Kick()
    {
        if (_filling.WrittenCount > BufferedBytesMax)
        {
            throw new Http2Exception(Http2ErrorCode.EnhanceYourCalm, "too much is unread");
        }

        Start();
    }

    private void Start()
    {
        if (!_isFlushing && !_isEnded && _filling.WrittenCount > 0)
        {
            _isFlushing = true;
            if (!WorkBatch.TakesFlush(this))
            {
                ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
            }
        }
    }

    // Round and round, a turn for each, until there is no room.
    private void PumpBlocked()
    {
        while (_window > 0 && _filling.WrittenCount <= BufferedBytesFull && _blocked.TryDequeue(out Http2Stream? stream))
        {
            stream.IsQueued = false;
            stream.IsBlocked = false;
            Pump(stream);
        }
    }

    // A stream that waited for its own window is in line again.
    private void Wake(Http2Stream stream)
    {
        if (stream is { IsBlocked: true, IsQueued: false, SendWindow: > 0 })
        {
            stream.IsQueued = true;
            _blocked.Enqueue(stream);
        }
    }

    // Mostly a message is small and nothing stands in its way.
    private bool CanPutWhole(Http2Stream stream, int bytes) => !stream.IsBlocked && stream.OutgoingIsEmpty && bytes <= _frameBytes
        && bytes <= _window && bytes <= stream.SendWindow && _filling.WrittenCount <= BufferedBytesFull;

    private void PutWhole(Http2Stream stream, ReadOnlySpan<byte> data, ReadOnlySpan<byte> trailers, bool ends)
    {
        if (data.Length > 0 || (ends && trailers.IsEmpty))
        {
            Put(FrameType.Data, ends && trailers.IsEmpty ? FrameHead.EndStream : (byte)0, stream.Id, data);
            _window -= data.Length;
            stream.SendWindow -= data.Length;
        }

        if (trailers.Length > 0)
        {
            Put(FrameType.Headers, FrameHead.EndHeaders | FrameHead.EndStream, stream.Id, trailers);
        }

        if (ends)
        {
            stream.IsSendClosed = true;
            _closed(stream);
        }
    }

    // Sends as much of a stream as the windows and its turn allow.
    private void Pump(Http2Stream stream)
    {
        int turn = TurnBytes;
        while (!stream.IsBlocked && !stream.OutgoingIsEmpty && stream.Outgoing.TryPeek(out Outgoing? next))
        {
            while (next.Remaining.Length > 0)
            {
                int piece = (int)Math.Min(Math.Min(next.Remaining.Length, Math.Min(turn, _frameBytes)), Math.Min(_window, stream.SendWindow));
                if (piece <= 0 || _filling.WrittenCount > BufferedBytesFull)
                {
                    stream.IsBlocked = true;
                    Wake(stream);
                    return;
                }

                bool last = next.Ends && next.Trailers.IsEmpty && piece == next.Remaining.Length;
                Put(FrameType.Data, last ? FrameHead.EndStream : (byte)0, stream.Id, next.Remaining.Span[..piece]);
                next.Remaining = next.Remaining[piece..];
                next.IsEnded = last;
                _window -= piece;
                stream.SendWindow -= piece;
                stream.OutgoingBytes -= piece;
                turn -= piece;
            }

            if (next.Ends)
            {
                if (next.Trailers.Length > 0)
                {
                    Put(FrameType.Headers, FrameHead.EndHeaders | FrameHead.EndStream, stream.Id, next.Trailers.Span);
                }
                else if (!next.IsEnded)
                {
                    Put(FrameType.Data, FrameHead.EndStream, stream.Id, default);
                }

                stream.IsSendClosed = true;
                _closed(stream);
            }

            stream.Outgoing.Dequeue();
            _outgoing--;
            next.Owner.GiveBack();
        }
    }

    private void Put(FrameType type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        Check.That(payload.Length <= Math.Max(_frameBytes, FrameBytesDefault));
        Span<byte> into = _filling.GetSpan(FrameHead.Bytes + payload.Length);
        new FrameHead(payload.Length, type, flags, stream).Write(into);
        payload.CopyTo(into[FrameHead.Bytes..]);
        _filling.Advance(FrameHead.Bytes + payload.Length);
        _sentData |= type == FrameType.Data;
    }

    private void PutHeld()
    {
        for (int at = 0; at < _heldBytes; at += PongBytes)
        {
            Put(FrameType.Ping, FrameHead.Ack, 0, _held.AsSpan(at, PongBytes));
        }

        _heldBytes = 0;
    }

    private void Drop(Http2Stream stream)
    {
        stream.IsSendClosed = true;
        stream.OutgoingBytes = 0;
        while (!stream.OutgoingIsEmpty && stream.Outgoing.TryDequeue(out Outgoing? dropped))
        {
            _outgoing--;
            dropped.Owner.GiveBack();
        }
    }

    private bool HasRoom(Http2Stream stream) =>
        _isEnded || stream.IsSendClosed || stream.OutgoingBytes + _filling.WrittenCount < BufferedBytesFull;

    private void Release()
    {
        for (int i = _roomWaiters.Count; i > 0; i--)
        {
            (Http2Stream stream, TaskCompletionSource room) = _roomWaiters.Dequeue();
            if (HasRoom(stream))
            {
                room.TrySetResult();
            }
            else
            {
                _roomWaiters.Enqueue((stream, room));
            }
        }
    }

    private static void Demand(long window)
    {
        if (window > int.MaxValue)
        {
            throw new Http2Exception(Http2ErrorCode.FlowControlError, "a window larger than 2^31-1");
        }
    }
}

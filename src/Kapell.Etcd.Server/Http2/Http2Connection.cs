using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using Kapell.Etcd.Server.Hosting;
using Microsoft.AspNetCore.Connections;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// The server's side of one HTTP/2 connection (RFC 9113), written for a port on which nearly everything is small gRPC calls: a request
/// whose body has come is handled on the reader's thread up to its first wait, and its whole response goes out in one piece. Takes any
/// <c>:authority</c>, as Go's server does, for clients put targets there that are no host names.
/// </summary>
internal sealed class Http2Connection : IHttp2Responder, IByteTaker
{
    private const int FrameBytesMax = 16384;
    private const int HeaderBlockBytesMax = 64 * 1024;
    private const int StreamWindow = 4 << 20;
    private const int ConnectionWindow = 16 << 20;

    // A client that opens and cancels without end, or only pings, works against us (CVE-2023-44487).
    private const int NuisanceMax = 20_000;
    private static readonly TimeSpan LastWordsPatience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan DeadlineStep = TimeSpan.FromMilliseconds(100);
    private static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    private readonly ConnectionContext _connection;
    private readonly IHttp2Transport _transport;
    private readonly Http2Options _options;
    private readonly Http2Output _output;
    private readonly Http2Farewell _farewell;
    private readonly Http2KeepAlive? _keepAlive;
    private readonly ConcurrentDictionary<int, Http2Stream> _streams = new();
    private readonly HpackBlocks _hpack = new(new HpackDecoder(4096, HeaderBlockBytesMax));
    private readonly TimeProvider _time;
    private ArrayBufferWriter<byte>? _headerBlock;
    private FrameHead _headersHead;
    private ITimer? _deadlines;
    private int _lastStream;
    private int _unacknowledged;
    private int _nuisance;
    private bool _prefaceSeen;
    private bool _settingsSeen;
    private volatile bool _clientLeaves;

    public Http2Connection(ConnectionContext connection, Http2Options options, TimeProvider time)
    {
        (_connection, _options, _time) = (connection, options, time);
        _transport = connection as IHttp2Transport ?? new PipeTransport(connection);
        _output = new Http2Output(_transport, Finished, _ => connection.Abort(), options.Pongs);
        _farewell = new Http2Farewell(_output, time, _transport.Wake);
        _keepAlive = options.KeepAlive is { } policy ? new Http2KeepAlive(policy, _output, time, () => connection.Abort()) : null;
    }

    public ConnectionContext Connection => _connection;

    public TimeProvider Time => _time;

    private bool TakesNothingNew => _clientLeaves || _farewell.IsFinal;

    public async Task RunAsync()
    {
        Http2ErrorCode code = Http2ErrorCode.NoError;
        using CancellationTokenRegistration stopping = _options.Stopping.Register(_farewell.Begin);
        try
        {
            SendSettings();
            await _transport.ReadAsync(this);
        }
        catch (Http2Exception e)
        {
            code = e.Code;
        }
        catch (HpackException)
        {
            code = Http2ErrorCode.CompressionError;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // The other side is gone.
        }
        finally
        {
            foreach ((_, Http2Stream stream) in _streams)
            {
                Over(stream);
            }

            if (_deadlines is not null)
            {
                await _deadlines.DisposeAsync();
            }

            if (_keepAlive is not null)
            {
                await _keepAlive.DisposeAsync();
            }

            await _farewell.DisposeAsync();
            await SayGoodbyeAsync(code);
        }
    }

    public bool Respond(Http2Stream stream, ReadOnlySpan<byte> headers, ReadOnlyMemory<byte> data, ReadOnlyMemory<byte> trailers, Lent owner, bool ends)
    {
        try
        {
            return _output.Send(stream, headers, data, trailers, owner, ends);
        }
        catch (Http2Exception)
        {
            _connection.Abort();
            return true;
        }
    }

    public Task RoomAsync(Http2Stream stream) => _output.RoomAsync(stream);

    public void Reset(Http2Stream stream, Http2ErrorCode code)
    {
        stream.IsReceiveClosed = true;
        _output.Close(stream);
        _output.Reset(stream.Id, code);
        Finished(stream);
    }

    /// <summary>Cancels the stream when its client's time is up.</summary>
    public void SetDeadline(Http2Stream stream, TimeSpan timeout)
    {
        stream.Deadline = _time.GetTimestamp() + (long)(Math.Min(timeout.TotalSeconds, 1e9) * _time.TimestampFrequency);
        _deadlines ??= _time.CreateTimer(_ => EndLate(), null, DeadlineStep, DeadlineStep);
    }

    public bool Take(ref ReadOnlySequence<byte> bytes, bool isWake)
    {
        if (!isWake)
        {
            _keepAlive?.Heard();
        }

        if (!_prefaceSeen && bytes.Length >= Preface.Length)
        {
            CheckPreface(bytes);
            bytes = bytes.Slice(Preface.Length);
            _prefaceSeen = true;
        }

        TakeFrames(ref bytes);
        if (_farewell.Step(_lastStream))
        {
            TellStreams();
        }

        if (_unacknowledged >= ConnectionWindow / 4)
        {
            _output.WindowUpdate(0, _unacknowledged);
            _unacknowledged = 0;
        }

        return !TakesNothingNew || !_streams.IsEmpty || !_farewell.HasWaited();
    }

    private void EndLate()
    {
        long now = _time.GetTimestamp();
        foreach ((_, Http2Stream stream) in _streams)
        {
            if (stream.Deadline != 0 && stream.Deadline <= now)
            {
                stream.Cancel();
                stream.Request?.Abort();
            }
        }
    }

    private void SendSettings()
    {
        Span<byte> settings = stackalloc byte[24];
        Setting(settings, 3, _options.StreamsMax);
        Setting(settings[6..], 4, StreamWindow);
        Setting(settings[12..], 5, FrameBytesMax);
        Setting(settings[18..], 6, HeaderBlockBytesMax);
        _output.Frame(FrameType.Settings, 0, 0, settings);
        _output.WindowUpdate(0, ConnectionWindow - Http2Output.WindowDefault);

        static void Setting(Span<byte> into, ushort id, int value)
        {
            BinaryPrimitives.WriteUInt16BigEndian(into, id);
            BinaryPrimitives.WriteInt32BigEndian(into[2..], value);
        }
    }

    // What is asked in one piece is done and answered together.
    private void TakeFrames(ref ReadOnlySequence<byte> buffer)
    {
        bool batch = WorkBatch.TryBegin();
        try
        {
            while (_prefaceSeen && TryFrame(ref buffer, out FrameHead head, out ReadOnlySequence<byte> payload))
            {
                Take(head, payload);
            }
        }
        finally
        {
            if (batch)
            {
                WorkBatch.End();
            }
        }
    }

    private static void CheckPreface(ReadOnlySequence<byte> buffer)
    {
        Span<byte> first = stackalloc byte[24];
        buffer.Slice(0, Preface.Length).CopyTo(first);
        if (!first.SequenceEqual(Preface))
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "no preface");
        }
    }

    private static bool TryFrame(ref ReadOnlySequence<byte> buffer, out FrameHead head, out ReadOnlySequence<byte> payload)
    {
        (head, payload) = (default, default);
        if (buffer.Length < FrameHead.Bytes)
        {
            return false;
        }

        Span<byte> bytes = stackalloc byte[FrameHead.Bytes];
        buffer.Slice(0, FrameHead.Bytes).CopyTo(bytes);
        head = FrameHead.Read(bytes);
        if (head.Length > FrameBytesMax)
        {
            throw new Http2Exception(Http2ErrorCode.FrameSizeError, "a frame larger than allowed");
        }

        if (buffer.Length < FrameHead.Bytes + head.Length)
        {
            return false;
        }

        payload = buffer.Slice(FrameHead.Bytes, head.Length);
        buffer = buffer.Slice(payload.End);
        return true;
    }

    private void Take(FrameHead head, ReadOnlySequence<byte> payload)
    {
        if (_headerBlock is not null && (head.Type != FrameType.Continuation || head.Stream != _headersHead.Stream))
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "a header block was interrupted");
        }

        if (!_settingsSeen && head.Type != FrameType.Settings)
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "the first frame must be settings");
        }

        switch (head.Type)
        {
            case FrameType.Data: TakeData(head, payload); break;
            case FrameType.Headers: TakeHeaders(head, payload); break;
            case FrameType.Continuation: TakeContinuation(head, payload); break;
            case FrameType.ResetStream: TakeReset(head); break;
            case FrameType.Settings: TakeSettings(head, payload); break;
            case FrameType.Ping: TakePing(head, payload); break;
            case FrameType.WindowUpdate: TakeWindowUpdate(head, payload); break;
            case FrameType.GoAway: _clientLeaves = true; break;
            case FrameType.PushPromise: throw new Http2Exception(Http2ErrorCode.ProtocolError, "clients do not push");
            default: break; // Priorities and what we do not know.
        }
    }

    private void TakeData(FrameHead head, ReadOnlySequence<byte> payload)
    {
        _unacknowledged += head.Length;
        if (!_streams.TryGetValue(head.Stream, out Http2Stream? stream) || stream.IsReceiveClosed)
        {
            if (head.Stream == 0 || head.Stream > _lastStream)
            {
                throw new Http2Exception(Http2ErrorCode.ProtocolError, "data on a stream that is not open");
            }

            // Late data of a stream that is over.
            return;
        }

        payload = Unpad(head, payload);
        if (payload.Length > 0 && !stream.Request!.Data(payload))
        {
            return;
        }

        if (head.Has(FrameHead.EndStream))
        {
            stream.IsReceiveClosed = true;
            stream.Request!.End();
            return;
        }

        stream.Unacknowledged += head.Length;
        if (stream.Unacknowledged >= StreamWindow / 4)
        {
            _output.WindowUpdate(stream.Id, stream.Unacknowledged);
            stream.Unacknowledged = 0;
        }
    }

    private void TakeHeaders(FrameHead head, ReadOnlySequence<byte> payload)
    {
        payload = Unpad(head, payload);
        if (head.Has(FrameHead.Prioritized))
        {
            payload = payload.Length >= 5 ? payload.Slice(5) : throw new Http2Exception(Http2ErrorCode.FrameSizeError, "headers too short");
        }

        _headersHead = head;
        if (head.Has(FrameHead.EndHeaders))
        {
            BlockComplete(payload.IsSingleSegment ? payload.FirstSpan : payload.ToArray());
            return;
        }

        _headerBlock = new ArrayBufferWriter<byte>();
        Append(payload);
    }

    private void TakeContinuation(FrameHead head, ReadOnlySequence<byte> payload)
    {
        if (_headerBlock is null)
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "a continuation of nothing");
        }

        Append(payload);
        if (head.Has(FrameHead.EndHeaders))
        {
            ArrayBufferWriter<byte> block = _headerBlock;
            _headerBlock = null;
            BlockComplete(block.WrittenSpan);
        }
    }

    private void Append(ReadOnlySequence<byte> payload)
    {
        if (_headerBlock!.WrittenCount + payload.Length > HeaderBlockBytesMax || (payload.Length == 0 && ++_nuisance > NuisanceMax))
        {
            throw new Http2Exception(Http2ErrorCode.EnhanceYourCalm, "headers without end");
        }

        foreach (ReadOnlyMemory<byte> segment in payload)
        {
            _headerBlock.Write(segment.Span);
        }
    }

    private void BlockComplete(ReadOnlySpan<byte> block)
    {
        List<HpackHeader> headers = _hpack.Decode(block);
        int id = _headersHead.Stream;
        bool ends = _headersHead.Has(FrameHead.EndStream);
        if (_streams.TryGetValue(id, out Http2Stream? open))
        {
            // Trailers of a request: gRPC knows none, but they end it.
            if (!ends || open.IsReceiveClosed)
            {
                throw new Http2Exception(Http2ErrorCode.ProtocolError, "headers in the middle of a stream");
            }

            open.IsReceiveClosed = true;
            open.Request!.End();
            return;
        }

        if (id <= _lastStream && (id & 1) == 1)
        {
            // A stream that is over already.
            return;
        }

        if ((id & 1) == 0)
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "a stream with an even number");
        }

        _lastStream = id;
        if (!RequestFields.AreWellFormed(headers))
        {
            Nuisance();
            _output.Reset(id, Http2ErrorCode.ProtocolError);
            return;
        }

        if (TakesNothingNew || _streams.Count >= _options.StreamsMax)
        {
            _output.Reset(id, Http2ErrorCode.RefusedStream);
            return;
        }

        Http2Stream stream = new(id, _output.StreamWindow, headers) { IsReceiveClosed = ends };
        _streams[id] = stream;
        stream.Request = _options.Begin(this, stream);
        if (ends)
        {
            stream.Request.End();
        }
    }

    private void TakeReset(FrameHead head)
    {
        if (head.Length != 4)
        {
            throw new Http2Exception(Http2ErrorCode.FrameSizeError, "a reset of a wrong size");
        }

        if (head.Stream == 0 || head.Stream > _lastStream)
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "a reset of a stream that never was");
        }

        if (_streams.TryRemove(head.Stream, out Http2Stream? stream))
        {
            Nuisance();
            Over(stream);
        }
    }

    private void TakeSettings(FrameHead head, ReadOnlySequence<byte> payload)
    {
        _settingsSeen = true;
        if (head.Has(FrameHead.Ack))
        {
            return;
        }

        if (head.Stream != 0 || head.Length % 6 != 0)
        {
            throw new Http2Exception(head.Stream != 0 ? Http2ErrorCode.ProtocolError : Http2ErrorCode.FrameSizeError, "malformed settings");
        }

        Nuisance();
        byte[] bytes = payload.ToArray();
        int? window = null;
        int? frame = null;
        for (int at = 0; at < bytes.Length; at += 6)
        {
            ushort id = BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(at));
            uint value = BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 2));
            if (id == 4)
            {
                window = value <= int.MaxValue ? (int)value : throw new Http2Exception(Http2ErrorCode.FlowControlError, "a window larger than 2^31-1");
            }
            else if (id == 5)
            {
                frame = value is >= 16384 and <= 16777215 ? (int)value : throw new Http2Exception(Http2ErrorCode.ProtocolError, "a frame size out of range");
            }
        }

        _output.Configure(window, frame, _streams.Values);
        _output.Frame(FrameType.Settings, FrameHead.Ack, 0, default);
    }

    private void TakePing(FrameHead head, ReadOnlySequence<byte> payload)
    {
        if (head.Length != 8 || head.Stream != 0)
        {
            throw new Http2Exception(head.Stream != 0 ? Http2ErrorCode.ProtocolError : Http2ErrorCode.FrameSizeError, "a malformed ping");
        }

        if (head.Has(FrameHead.Ack))
        {
            _farewell.Answered(payload);
            return;
        }

        Nuisance();
        Span<byte> data = stackalloc byte[8];
        payload.CopyTo(data);
        _output.Pong(data);
    }

    private void TakeWindowUpdate(FrameHead head, ReadOnlySequence<byte> payload)
    {
        if (head.Length != 4)
        {
            throw new Http2Exception(Http2ErrorCode.FrameSizeError, "a window update of a wrong size");
        }

        Span<byte> bytes = stackalloc byte[4];
        payload.CopyTo(bytes);
        int more = BinaryPrimitives.ReadInt32BigEndian(bytes) & int.MaxValue;
        if (more == 0)
        {
            throw new Http2Exception(Http2ErrorCode.ProtocolError, "a window update of nothing");
        }

        if (head.Stream == 0)
        {
            _output.Allow(null, more);
        }
        else if (_streams.TryGetValue(head.Stream, out Http2Stream? stream))
        {
            _output.Allow(stream, more);
        }
    }

    // Earned back by each request that is served.
    private void Nuisance()
    {
        if (Interlocked.Increment(ref _nuisance) > NuisanceMax)
        {
            throw new Http2Exception(Http2ErrorCode.EnhanceYourCalm, "too many frames that ask for nothing");
        }
    }

    private static ReadOnlySequence<byte> Unpad(FrameHead head, ReadOnlySequence<byte> payload)
    {
        if (!head.Has(FrameHead.Padded))
        {
            return payload;
        }

        int padding = payload.Length > 0 ? payload.FirstSpan[0] : throw new Http2Exception(Http2ErrorCode.FrameSizeError, "no padding length");
        return padding < payload.Length
            ? payload.Slice(1, payload.Length - 1 - padding)
            : throw new Http2Exception(Http2ErrorCode.ProtocolError, "more padding than frame");
    }

    private void Finished(Http2Stream stream)
    {
        if (!_streams.TryRemove(stream.Id, out _))
        {
            return;
        }

        if (!stream.IsReceiveClosed)
        {
            // The response is complete: what the client might still send is not wanted (RFC 9113 §8.1).
            _output.Reset(stream.Id, Http2ErrorCode.NoError);
        }

        if (Volatile.Read(ref _nuisance) > 0)
        {
            Interlocked.Decrement(ref _nuisance);
        }

        if (TakesNothingNew && _streams.IsEmpty)
        {
            // Not here: whoever finishes a stream holds the output.
            ThreadPool.UnsafeQueueUserWorkItem(static transport => transport.Wake(), _transport, preferLocal: false);
        }
    }

    private void Over(Http2Stream stream)
    {
        _output.Close(stream);
        stream.Cancel();
        stream.Request?.Abort();
    }

    private void TellStreams()
    {
        foreach ((_, Http2Stream stream) in _streams)
        {
            stream.Request?.ServerStops();
        }
    }

    private async Task SayGoodbyeAsync(Http2ErrorCode code)
    {
        if (code != Http2ErrorCode.NoError)
        {
            _output.GoAway(code, _lastStream);
        }

        try
        {
            await _output.FinishAsync(LastWordsPatience, _time);
        }
        catch (Exception e) when (e is IOException or InvalidOperationException or OperationCanceledException)
        {
            // The other side is gone.
        }
    }
}

/// <summary>How responses get out.</summary>
internal interface IHttp2Responder
{
    TimeProvider Time { get; }

    ConnectionContext Connection { get; }

    /// <inheritdoc cref="Http2Output.Send"/>
    bool Respond(
        Http2Stream stream, ReadOnlySpan<byte> headers, ReadOnlyMemory<byte> data, ReadOnlyMemory<byte> trailers, Lent owner, bool ends = false);

    /// <inheritdoc cref="Http2Output.RoomAsync"/>
    Task RoomAsync(Http2Stream stream);

    void Reset(Http2Stream stream, Http2ErrorCode code);

    void SetDeadline(Http2Stream stream, TimeSpan timeout);
}

/// <summary>What a port's HTTP/2 connections share.</summary>
internal sealed record Http2Options
{
    public int StreamsMax { get; init; } = 100_000;

    /// <summary>A request has begun: who takes its body. Called by the connection's reader.</summary>
    public required Func<IHttp2Responder, Http2Stream, IHttp2Request> Begin { get; init; }

    /// <summary>Null: who says nothing is never asked.</summary>
    public KeepAlivePolicy? KeepAlive { get; init; }

    /// <summary>Null: no answer to a ping waits.</summary>
    public HeldPongs? Pongs { get; init; }

    /// <summary>The server stops: connections end when what is under way on them has.</summary>
    public CancellationToken Stopping { get; init; }
}

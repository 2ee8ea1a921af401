using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Compression;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Tracing;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Calls;

/// <summary>One call: puts its messages together from the body's pieces, and is the context that its handler sees.</summary>
internal abstract class GrpcCall : ServerCallContext, IHttp2Request, ICallerCertificate
{
    private static readonly byte[] ResponseHeaders = GrpcHeaders.Response();
    private static readonly byte[] OkTrailers = GrpcHeaders.Trailers(Status.DefaultSuccess, null);

    private readonly GrpcMethod _method;
    private readonly GrpcServer _server;
    private readonly Http2Stream _stream;
    private readonly long _began;
    private readonly Activity? _span;
    private ArrayBufferWriter<byte>? _partial;
    private long _received;
    private Metadata? _requestHeaders;
    private Metadata? _trailers;
    private int _finished;
    private bool _headersSent;

    protected GrpcCall(GrpcMethod method, GrpcServer server, IHttp2Responder responder, Http2Stream stream)
    {
        (_method, _server, Responder, _stream) = (method, server, responder, stream);
        _began = method.IsStream && method.Count.Times is null ? 0 : responder.Time.GetTimestamp();
        _span = server.Traces?.Begin(method.FullName, stream);
        method.Count.Start();
        server.CountClient(stream).Begin(method.IsStream);
        if (stream.Timeout is { } time)
        {
            responder.SetDeadline(stream, time);
        }
    }

    public IHttp2Responder Responder { get; }

    public X509Certificate2? ClientCertificate => Responder.Connection.Features.Get<ITlsConnectionFeature>()?.ClientCertificate;

    protected override string MethodCore => _method.FullName;

    protected override string HostCore => _stream.Find(":authority"u8)?.ValueText ?? "";

    protected override string PeerCore => Responder.Connection.RemoteEndPoint switch
    {
        IPEndPoint { AddressFamily: System.Net.Sockets.AddressFamily.InterNetworkV6 } v6 => "ipv6:" + v6,
        { } other => "ipv4:" + other,
        null => "unknown:",
    };

    protected override DateTime DeadlineCore => _stream.Timeout is { } timeout ? Responder.Time.GetUtcNow().UtcDateTime + timeout : DateTime.MaxValue;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= GrpcHeaders.ToMetadata(_stream.Headers);

    protected override CancellationToken CancellationTokenCore => _stream.Ending;

    protected override Metadata ResponseTrailersCore => _trailers ??= [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore => new("", []);

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException("calls are not passed on");

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) =>
        throw new NotSupportedException("no service here sends headers of its own");

    /// <summary>It was answered, or its client is gone.</summary>
    public bool IsOver => Volatile.Read(ref _finished) != 0 || _stream.IsOver;

    /// <summary>Ends it from outside, from any thread; its handler sees it cancelled.</summary>
    public void Refuse(Status status)
    {
        Fail(status);
        _stream.Cancel();
        Aborted();
    }

    bool IHttp2Request.Data(ReadOnlySequence<byte> piece)
    {
        try
        {
            return Take(piece);
        }
        catch (Exception e)
        {
            Fail(e);
            return false;
        }
    }

    void IHttp2Request.End()
    {
        if (_partial is { WrittenCount: > 0 })
        {
            Fail(new Status(StatusCode.Internal, "the stream ended in the middle of a message"));
        }
        else
        {
            Ended();
        }
    }

    void IHttp2Request.Abort()
    {
        if (_stream is { IsOver: true, Deadline: not 0 } && _stream.Deadline <= Responder.Time.GetTimestamp())
        {
            Fail(new Status(StatusCode.DeadlineExceeded, "context deadline exceeded"));
        }

        Aborted();
    }

    // A call with an end of its own is given the time for it.
    void IHttp2Request.ServerStops()
    {
        if (_method.IsEndless)
        {
            Refuse(new Status(EtcdError.Stopped.Code, EtcdError.Stopped.Text));
        }
    }

    /// <summary>A message is complete; it must be read before this returns.</summary>
    protected abstract void Message(ReadOnlySequence<byte> payload);

    /// <summary>The client sends no more.</summary>
    protected abstract void Ended();

    protected virtual void Aborted()
    {
    }

    /// <summary>A message of a stream; false when the caller should wait for room.</summary>
    protected bool Send(GrpcPayload message)
    {
        _server.Calls.Sent(message.Length - GrpcPayload.PrefixBytes);
        _method.Count.MessageSent();
        bool first = !_headersSent;
        _headersSent = true;
        return Responder.Respond(_stream, first ? ResponseHeaders : default, message.Memory, default, message.Owner);
    }

    /// <summary>Waits until the stream has room for another message.</summary>
    protected Task RoomAsync() => Responder.RoomAsync(_stream);

    /// <summary>Success, with a last message or none.</summary>
    protected void Finish(GrpcPayload? message)
    {
        if (Interlocked.Exchange(ref _finished, 1) != 0)
        {
            message?.Owner.GiveBack();
            return;
        }

        int sent = (message?.Length ?? GrpcPayload.PrefixBytes) - GrpcPayload.PrefixBytes;
        End(StatusCore.StatusCode, sent);
        if (message is not null)
        {
            _server.Calls.Sent(sent);
            _method.Count.MessageSent();
        }

        bool first = !_headersSent;
        byte[] trailers = _trailers is null && StatusCore.StatusCode == StatusCode.OK ? OkTrailers : GrpcHeaders.Trailers(StatusCore, _trailers);
        Responder.Respond(_stream, first ? ResponseHeaders : default, message?.Memory ?? default, trailers, message?.Owner ?? default);
    }

    /// <summary>The client is gone, and the handler has found that out: there is nobody to tell.</summary>
    protected void Leave()
    {
        if (Interlocked.Exchange(ref _finished, 1) == 0)
        {
            End(StatusCode.Cancelled, sent: 0);
        }
    }

    protected void Fail(Status status) => Fail(new RpcException(status));

    protected void Fail(Exception cause)
    {
        if (Interlocked.Exchange(ref _finished, 1) != 0)
        {
            return;
        }

        Status status = cause switch
        {
            RpcException rpc => rpc.Status,
            OperationCanceledException => new Status(StatusCode.Cancelled, "context canceled"),
            TimeoutException => EtcdError.Timeout.ToException().Status, // The member's own patience with its turns: a disk that hangs.
            Google.Protobuf.InvalidProtocolBufferException e => new Status(StatusCode.Internal, "grpc: error unmarshalling request: " + e.Message),
            _ => new Status(StatusCode.Unknown, cause.Message),
        };
        End(status.StatusCode, sent: 0);
        if (status.StatusCode == StatusCode.Unknown && cause is not RpcException && !_stream.IsOver)
        {
            GrpcLog.HandlerFailed(_server.Logger, _method.FullName, cause);
        }

        Metadata? trailers = (cause as RpcException)?.Trailers is { Count: > 0 } own ? own : _trailers;
        Responder.Respond(
            _stream, default, default, _headersSent ? GrpcHeaders.Trailers(status, trailers) : GrpcHeaders.TrailersOnly(status, trailers), default);
    }

    // etcd: api/v3rpc/interceptor.go logUnaryRequestStats; what the request says stays out of the log, it may be a secret.
    private void End(StatusCode code, int sent)
    {
        _method.Count.End(code);
        if (_span is not null)
        {
            CallTraces.End(_span, code);
        }

        if (_method.IsStream && _method.Count.Times is null)
        {
            return;
        }

        TimeSpan spent = Responder.Time.GetElapsedTime(_began);
        _method.Count.Times?.Observe(spent.TotalSeconds);
        _method.Count.Requests?.Observe(spent.TotalSeconds, code == StatusCode.OK);
        if (_method.IsStream || !_server.Logger.IsEnabled(LogLevel.Warning))
        {
            return;
        }

        if (_server.Logger.IsEnabled(LogLevel.Debug))
        {
            GrpcLog.CallEnded(_server.Logger, _method.FullName, PeerCore, GoDuration.Format(spent), code, _received, sent);
        }
        else if (spent > _server.SlowAfter)
        {
            GrpcLog.CallWasSlow(_server.Logger, _method.FullName, PeerCore, GoDuration.Format(spent), code, _received, sent);
        }
    }

    // Mostly a piece is exactly one message.
    private bool Take(ReadOnlySequence<byte> piece)
    {
        if (_partial is { WrittenCount: > 0 } partial)
        {
            foreach (ReadOnlyMemory<byte> segment in piece)
            {
                partial.Write(segment.Span);
            }

            piece = new ReadOnlySequence<byte>(partial.WrittenMemory);
        }

        Span<byte> prefix = stackalloc byte[GrpcPayload.PrefixBytes];
        while (piece.Length >= GrpcPayload.PrefixBytes)
        {
            piece.Slice(0, GrpcPayload.PrefixBytes).CopyTo(prefix);
            uint length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
            if (length > _server.MessageBytesMax)
            {
                Fail(new Status(StatusCode.ResourceExhausted, $"grpc: received message larger than max ({length} vs. {_server.MessageBytesMax})"));
                return false;
            }

            if (piece.Length < GrpcPayload.PrefixBytes + length)
            {
                break;
            }

            ReadOnlySequence<byte> payload = piece.Slice(GrpcPayload.PrefixBytes, length);
            _server.Calls.Received(length);
            _method.Count.MessageReceived();
            _received += length;
            Message(prefix[0] == 0 ? payload : Decompress(prefix[0], payload));
            piece = piece.Slice(GrpcPayload.PrefixBytes + length);
        }

        Keep(piece);
        return true;
    }

    private void Keep(ReadOnlySequence<byte> rest)
    {
        if (rest.Length == 0)
        {
            _partial = null;
            return;
        }

        if (_partial is { } same && rest.Length == same.WrittenCount)
        {
            // Nothing was complete: it is all there already.
            return;
        }

        ArrayBufferWriter<byte> next = new((int)rest.Length + 1024);
        foreach (ReadOnlyMemory<byte> segment in rest)
        {
            next.Write(segment.Span);
        }

        _partial = next;
    }

    private ReadOnlySequence<byte> Decompress(byte flag, ReadOnlySequence<byte> payload)
    {
        string encoding = _stream.Find("grpc-encoding"u8)?.ValueText ?? "identity";
        if (flag != 1 || encoding != "gzip")
        {
            throw new RpcException(flag > 1 ? new Status(StatusCode.Internal, $"grpc: received unexpected payload format {flag}")
                : encoding == "identity" ? new Status(StatusCode.Internal, "grpc: compressed flag set with identity or empty encoding")
                : GrpcHeaders.NoDecompressor(encoding));
        }

        byte[] into = new byte[_server.MessageBytesMax + 1];
        int length;
        try
        {
            using GZipStream gzip = new(new MemoryStream(payload.ToArray()), CompressionMode.Decompress);
            length = gzip.ReadAtLeast(into, into.Length, throwOnEndOfStream: false);
        }
        catch (InvalidDataException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, "grpc: failed to decompress the received message: " + e.Message));
        }

        return length <= _server.MessageBytesMax
            ? new ReadOnlySequence<byte>(into, 0, length)
            : throw new RpcException(new Status(
                StatusCode.ResourceExhausted, $"grpc: received message after decompression larger than max {_server.MessageBytesMax}"));
    }
}

/// <summary>A call that cannot be served: answered at once, its body ignored.</summary>
internal sealed class RefusedCall : IHttp2Request
{
    /// <param name="http">The status of HTTP, which is 200 unless the request breaks gRPC's own protocol.</param>
    public RefusedCall(IHttp2Responder responder, Http2Stream stream, Status status, int http = 200) =>
        responder.Respond(stream, default, default, GrpcHeaders.TrailersOnly(status, null, http), default);

    public bool Data(ReadOnlySequence<byte> piece) => false;

    public void End()
    {
    }

    public void Abort()
    {
    }

    public void ServerStops()
    {
    }
}

internal static partial class GrpcLog
{
    [LoggerMessage(EventId = 1030, Level = LogLevel.Error, Message = "the call {Method} failed unexpectedly")]
    public static partial void HandlerFailed(ILogger logger, string method, Exception cause);

    [LoggerMessage(EventId = 1031, Level = LogLevel.Debug, Message = "request stats: {ResponseType} of {Remote} took {TimeSpent}: {Code}, {RequestSize} bytes asked, {ResponseSize} answered")]
    public static partial void CallEnded(
        ILogger logger, string responseType, string remote, string timeSpent, StatusCode code, long requestSize, int responseSize);

    [LoggerMessage(EventId = 1032, Level = LogLevel.Warning, Message = "request stats: {ResponseType} of {Remote} took {TimeSpent}: {Code}, {RequestSize} bytes asked, {ResponseSize} answered")]
    public static partial void CallWasSlow(
        ILogger logger, string responseType, string remote, string timeSpent, StatusCode code, long requestSize, int responseSize);
}

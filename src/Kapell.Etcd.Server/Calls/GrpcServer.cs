using System.Collections.Frozen;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Rpc;
using Kapell.Etcd.Server.Tracing;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Calls;

/// <summary>
/// gRPC over <see cref="Http2Connection"/>: the services' generated binders give their methods to <see cref="GrpcBinder"/>; calls that are
/// no gRPC go to the plain HTTP application of the port. Source: the gRPC over HTTP/2 protocol (PROTOCOL-HTTP2.md).
/// </summary>
internal sealed class GrpcServer(GrpcBinder methods, int messageBytesMax, RequestDelegate plain, IServiceProvider services, ILogger logger)
{
    private readonly FrozenDictionary<string, GrpcMethod> _methods = methods.Methods.ToFrozenDictionary(StringComparer.Ordinal);
    private readonly VersionCount _unknownClients = methods.Calls.OfClient(null);
    private readonly FrozenSet<string> _services = methods.Methods.Keys.Select(static p => p.Split('/')[1]).ToFrozenSet(StringComparer.Ordinal);

    /// <summary>Judges calls before they begin; null lets all in.</summary>
    public CallGate? Gate { get; init; }

    /// <summary>Null: calls leave no spans.</summary>
    public CallTraces? Traces { get; init; }

    /// <summary>A call that is no stream and takes longer is named in the log.</summary>
    public TimeSpan SlowAfter { get; init; } = TimeSpan.MaxValue;

    /// <summary>Of one received message, decompressed.</summary>
    public int MessageBytesMax => messageBytesMax;

    public ILogger Logger => logger;

    public CallCounter Calls => methods.Calls;

    /// <summary>Where calls of this client's version are counted.</summary>
    public VersionCount CountClient(Http2Stream stream)
    {
        if (stream.Find("client-api-version"u8) is not { } version)
        {
            return _unknownClients;
        }

        // The client's table gives the same field for the same version each time.
        version.Meaning ??= Calls.OfClient(version.ValueText);
        return version.Meaning as VersionCount ?? _unknownClients;
    }

    public IHttp2Request Begin(IHttp2Responder responder, Http2Stream stream)
    {
        if (stream.Find("content-type"u8) is not { } type || !IsGrpc(type.Value))
        {
            return new PlainCall(plain, services, responder, stream);
        }

        if (MalformedBecause(stream) is { } malformed)
        {
            return new RefusedCall(responder, stream, malformed.Status, malformed.Http);
        }

        if (stream.Find(":path"u8) is not { } path)
        {
            return new RefusedCall(responder, stream, Unknown(""));
        }

        // The client's table gives the same field for the same path each time.
        path.Meaning ??= _methods.GetValueOrDefault(path.ValueText) ?? (object)this;
        return path.Meaning is not GrpcMethod method ? new RefusedCall(responder, stream, Unknown(path.ValueText))
            : Gate?.Judge(method, stream) is { } refusal ? new RefusedCall(responder, stream, refusal)
            : Begin(method, responder, stream);
    }

    // Also with what the messages are in, which is protobuf whatever it says; not gRPC-Web.
    private static bool IsGrpc(ReadOnlySpan<byte> type) =>
        type.StartsWith("application/grpc"u8) && (type.Length == "application/grpc".Length || type["application/grpc".Length] is (byte)'+' or (byte)';');

    /// <summary>What breaks the protocol of gRPC, as Go's server words it. Source: grpc-go internal/transport/http2_server.go</summary>
    private static (Status Status, int Http)? MalformedBecause(Http2Stream stream)
    {
        string method = stream.Find(":method"u8)?.ValueText ?? "";
        if (method != "POST")
        {
            return (new Status(StatusCode.Internal, $"Received a HEADERS frame with :method \"{method}\" which should be POST"), StatusCodes.Status405MethodNotAllowed);
        }

        if (stream.Find("grpc-timeout"u8) is { } timeout)
        {
            if (!GrpcHeaders.TryTimeout(timeout.Value, out TimeSpan time))
            {
                return (new Status(StatusCode.Internal, $"malformed grpc-timeout: \"{timeout.ValueText}\""), StatusCodes.Status400BadRequest);
            }

            stream.Timeout = time;
        }

        return stream.Find("grpc-encoding"u8)?.ValueText is { } encoding and not ("identity" or "gzip")
            ? (GrpcHeaders.NoDecompressor(encoding), StatusCodes.Status200OK)
            : null;
    }

    private GrpcCall Begin(GrpcMethod method, IHttp2Responder responder, Http2Stream stream)
    {
        GrpcCall call = method.Begin(this, responder, stream);
        Gate?.Begun(method, call, stream);
        return call;
    }

    // As Go's server words it.
    private Status Unknown(string path)
    {
        int slash = path.LastIndexOf('/');
        if (path.Length == 0 || path[0] != '/' || slash < 1)
        {
            return new Status(StatusCode.Unimplemented, $"malformed method name: \"{path}\"");
        }

        string service = path[1..slash];
        return new Status(
            StatusCode.Unimplemented,
            _services.Contains(service) ? $"unknown method {path[(slash + 1)..]} for service {service}" : $"unknown service {service}");
    }
}

/// <summary>Collects methods from the generated <c>BindService</c>.</summary>
internal sealed class GrpcBinder(CallCounter calls) : ServiceBinderBase
{
    public CallCounter Calls => calls;

    public Dictionary<string, GrpcMethod> Methods { get; } = new(StringComparer.Ordinal);

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler) =>
        Methods[method.FullName] = new UnaryMethod<TRequest, TResponse>(method, handler!, calls);

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler) =>
        Methods[method.FullName] = new StreamingMethod<TRequest, TResponse>(
            method, async (reader, _, context) => await handler!(reader, context), calls);

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler) =>
        Methods[method.FullName] = new StreamingMethod<TRequest, TResponse>(method, async (reader, writer, context) =>
        {
            if (!await reader.MoveNext(context.CancellationToken))
            {
                throw new RpcException(new Status(StatusCode.Internal, "the call carried no message"));
            }

            await handler!(reader.Current, writer, context);
            return null;
        }, calls);

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler) =>
        Methods[method.FullName] = new StreamingMethod<TRequest, TResponse>(method, async (reader, writer, context) =>
        {
            await handler!(reader, writer, context);
            return null;
        }, calls);
}

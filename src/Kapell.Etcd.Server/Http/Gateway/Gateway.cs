using System.Text;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>The API as JSON over HTTP under /v3: each path is one method of gRPC. etcd: embed/serve.go registerGateway</summary>
/// <param name="streamsMax">
/// Of all requests here together: in etcd the gateway is one client of the server's, to which --max-concurrent-streams applies.
/// </param>
/// <param name="stopping">The server stops: streams, which have no end of their own, end.</param>
internal sealed class Gateway(GatewayBinder methods, EtcdLimits limits, int streamsMax, TimeProvider time, Task opened, CancellationToken stopping)
{
    private static readonly Status Late = new(StatusCode.DeadlineExceeded, "context deadline exceeded");
    private static readonly TimeSpan Instant = TimeSpan.FromMilliseconds(1); // Shorter than any call.
    private static readonly TimeSpan PatienceMax = TimeSpan.FromMilliseconds(int.MaxValue); // Of a timer.

    private const string MetadataPrefix = "Grpc-Metadata-";
    private const string OldPrefix = "/v3beta/";

    // JSON is larger than what it says: bytes by a third, names, and escapes.
    private const int JsonFactor = 2;

    private readonly SemaphoreSlim _streams = new(streamsMax);

    public async Task ServeAsync(HttpContext context)
    {
        bool isSocket = context.WebSockets.IsWebSocketRequest;
        await using IGatewayChannel channel = isSocket ? await WebSocketChannel.AcceptAsync(context, time) : new HttpChannel(context);
        await ServeAsync(context, channel, isPost: isSocket || HttpMethods.IsPost(context.Request.Method));
    }

    private async Task ServeAsync(HttpContext context, IGatewayChannel channel, bool isPost)
    {
        string path = context.Request.Path.Value ?? "";
        path = path.StartsWith(OldPrefix, StringComparison.Ordinal) ? "/v3/" + path[OldPrefix.Length..] : path;
        if (!GatewayRoutes.Methods.TryGetValue(path, out string? name))
        {
            await channel.RefuseAsync(new Status(StatusCode.NotFound, "Not Found"));
            return;
        }

        if (!isPost)
        {
            await channel.RefuseAsync(new Status(StatusCode.Unimplemented, "Method Not Allowed"));
            return;
        }

        string timeout = context.Request.Headers["Grpc-Timeout"].ToString();
        TimeSpan patience = TimeSpan.Zero; // None: as long as it takes.
        if (timeout.Length > 0 && !GrpcHeaders.TryTimeout(Encoding.UTF8.GetBytes(timeout), out patience))
        {
            await channel.RefuseAsync(new Status(StatusCode.InvalidArgument, $"invalid grpc-timeout: {timeout}"));
            return;
        }

        if (patience > TimeSpan.Zero && patience < Instant)
        {
            await channel.RefuseAsync(Late);
            return;
        }

        (MethodDescriptor method, GatewayHandler handler) = methods.Handlers[name];
        using CancellationTokenSource late = new(patience == TimeSpan.Zero || patience > PatienceMax ? Timeout.InfiniteTimeSpan : patience, time);
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(
            channel.Gone, late.Token, GrpcMethod.NeverEnds(method.Name, method.IsClientStreaming) ? stopping : CancellationToken.None);
        GatewayExchange exchange = new(channel, method, (limits.RequestBytesMax + EtcdLimits.FrameBytes) * JsonFactor, ending.Token);
        InnerCall call = new(name, HeadersOf(context.Request, channel.Authorization), null, $"{context.Connection.RemoteIpAddress}:{context.Connection.RemotePort}", ending.Token);
        try
        {
            await opened.WaitAsync(ending.Token);
            await _streams.WaitAsync(ending.Token);
            try
            {
                await handler(exchange, call);
            }
            finally
            {
                _streams.Release();
            }
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException && ending.IsCancellationRequested && !channel.Gone.IsCancellationRequested)
        {
            await channel.RefuseAsync(late.IsCancellationRequested ? Late : new Status(EtcdError.Stopped.Code, EtcdError.Stopped.Text));
        }
        catch (RpcException e)
        {
            await channel.RefuseAsync(e.Status);
        }
        catch (BadHttpRequestException e) when (!channel.HasBegun)
        {
            await channel.RefuseAsync(new Status(StatusCode.InvalidArgument, e.Message));
        }
        catch (Exception e) when (e is ConnectionResetException || (e is OperationCanceledException or IOException && channel.Gone.IsCancellationRequested))
        {
            // The client has gone: there is nobody to tell.
        }
    }

    /// <summary>What the gateway passes on: credentials, and headers that are marked for it.</summary>
    private static Metadata HeadersOf(HttpRequest request, string? authorization)
    {
        Metadata headers = new() { { "grpcgateway-accept", request.Headers.Accept.ToString() is { Length: > 0 } accept ? accept : "*/*" } };
        if (authorization is not null)
        {
            headers.Add("authorization", authorization);
        }

        foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in request.Headers)
        {
            if (name.StartsWith(MetadataPrefix, StringComparison.OrdinalIgnoreCase) && !name.EndsWith("-bin", StringComparison.OrdinalIgnoreCase))
            {
                Add(headers, name[MetadataPrefix.Length..].ToLowerInvariant(), values.ToString());
            }
        }

        return headers;
    }

    private static void Add(Metadata headers, string name, string value)
    {
        try
        {
            headers.Add(name, value);
        }
        catch (ArgumentException)
        {
            // No name that gRPC knows: nobody can ask for it.
        }
    }
}

using System.Collections.Frozen;
using System.Net.Sockets;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Proxies.Watches;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>Passes on the calls of services as the bytes that they are; a method may be looked into on the way.</summary>
/// <param name="upstreams">Where to.</param>
/// <param name="views">By full name of the method: what is changed in its messages, or who answers in place of the members.</param>
/// <param name="watches">Serves the watches.</param>
/// <param name="order">Null: a member that is behind may answer reads after one that is not.</param>
internal sealed class ProxyBinder(Upstreams upstreams, IReadOnlyDictionary<string, MessageView> views, SharedWatches watches, OrderedReads? order)
{
    public const string WatchMethod = "/etcdserverpb.Watch/Watch";

    private static readonly Marshaller<byte[]> Bytes = new(static bytes => bytes, static bytes => bytes);

    /// <summary>Nothing happens twice if these are sent again to another member, after one did not answer.</summary>
    private static readonly FrozenSet<string> Readers = FrozenSet.Create(
        StringComparer.Ordinal,
        "/etcdserverpb.KV/Range", "/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases", "/etcdserverpb.Cluster/MemberList",
        "/etcdserverpb.Auth/AuthStatus", "/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Auth/UserGet", "/etcdserverpb.Auth/UserList",
        "/etcdserverpb.Auth/RoleGet", "/etcdserverpb.Auth/RoleList", "/v3electionpb.Election/Leader");

    public void Bind(GrpcBinder binder, IEnumerable<FileDescriptor> files)
    {
        foreach (MethodDescriptor method in files.SelectMany(static f => f.Services).SelectMany(static s => s.Methods))
        {
            MethodType type = (method.IsClientStreaming, method.IsServerStreaming) switch
            {
                (true, true) => MethodType.DuplexStreaming,
                (true, false) => MethodType.ClientStreaming,
                (false, true) => MethodType.ServerStreaming,
                _ => MethodType.Unary,
            };
            Bind(binder, new Method<byte[], byte[]>(type, method.Service.FullName, method.Name, Bytes, Bytes));
        }
    }

    private void Bind(GrpcBinder binder, Method<byte[], byte[]> method)
    {
        MessageView view = views.GetValueOrDefault(method.FullName) ?? MessageView.None;
        switch (method.Type)
        {
            case MethodType.Unary:
                binder.AddMethod(method, (byte[] request, ServerCallContext context) => UnaryAsync(method, view, request, context));
                break;
            case MethodType.ServerStreaming:
                binder.AddMethod(method, (byte[] request, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
                    StreamAsync(method, view, request, responses, context));
                break;
            case MethodType.DuplexStreaming when method.FullName == WatchMethod:
                binder.AddMethod(method, (IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
                    watches.ServeAsync(method, requests, responses, context));
                break;
            default:
                binder.AddMethod(method, (IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
                    DuplexAsync(method, view, requests, responses, context));
                break;
        }
    }

    private async Task<byte[]> UnaryAsync(Method<byte[], byte[]> method, MessageView view, byte[] request, ServerCallContext context)
    {
        if (view.Answer is { } answer && await answer(request, context) is { } own)
        {
            return own;
        }

        byte[] sent = view.Request(request);
        return view.Response(order is not null && OrderedReads.Concerns(method.FullName)
            ? await order.ReadAsync(() => AskAsync(method, sent, context), Math.Max(1, upstreams.Endpoints.Count), context.CancellationToken)
            : await AskAsync(method, sent, context));
    }

    /// <summary>The answer of the next member, or of one after it when that says nothing.</summary>
    private async Task<byte[]> AskAsync(Method<byte[], byte[]> method, byte[] sent, ServerCallContext context)
    {
        RpcException last = new(new Status(StatusCode.Unavailable, "no endpoint is known"));
        foreach (Upstream upstream in upstreams.InOrder())
        {
            try
            {
                using AsyncUnaryCall<byte[]> call = upstream.Channel.CreateCallInvoker().AsyncUnaryCall(method, null, Options(context), sent);
                byte[] answer = await call;
                upstreams.Heard(upstream);
                return answer;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && !context.CancellationToken.IsCancellationRequested)
            {
                last = Plain(e, upstream);
                upstreams.Suspect(upstream, last.Status.Detail);
                if (!Readers.Contains(method.FullName) && !NeverSent(e))
                {
                    break;
                }
            }
        }

        throw last;
    }

    private async Task StreamAsync(
        Method<byte[], byte[]> method, MessageView view, byte[] request, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        Upstream upstream = upstreams.InOrder()[0];
        using AsyncServerStreamingCall<byte[]> call =
            upstream.Channel.CreateCallInvoker().AsyncServerStreamingCall(method, null, Options(context), view.Request(request));
        await PassAsync(upstream, call.ResponseStream, responses, view, context);
    }

    private async Task DuplexAsync(
        Method<byte[], byte[]> method, MessageView view, IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        Upstream upstream = upstreams.InOrder()[0];
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        CallOptions options = Options(context).WithCancellationToken(over.Token);
        using AsyncDuplexStreamingCall<byte[], byte[]> call = upstream.Channel.CreateCallInvoker().AsyncDuplexStreamingCall(method, null, options);
        Task sending = SendAsync(requests, call.RequestStream, view, over.Token);
        try
        {
            await PassAsync(upstream, call.ResponseStream, responses, view, context);
        }
        finally
        {
            await over.CancelAsync();
            await sending;
        }
    }

    private static async Task SendAsync(IAsyncStreamReader<byte[]> requests, IClientStreamWriter<byte[]> upstream, MessageView view, CancellationToken over)
    {
        try
        {
            while (await requests.MoveNext(over))
            {
                await upstream.WriteAsync(view.Request(requests.Current), over);
            }

            await upstream.CompleteAsync();
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException or InvalidOperationException or IOException)
        {
            // The other direction knows why.
            return;
        }
    }

    private async Task PassAsync(
        Upstream upstream, IAsyncStreamReader<byte[]> from, IServerStreamWriter<byte[]> to, MessageView view, ServerCallContext context)
    {
        try
        {
            while (await from.MoveNext(context.CancellationToken))
            {
                upstreams.Heard(upstream);
                await to.WriteAsync(view.Response(from.Current), context.CancellationToken);
            }
        }
        catch (RpcException e)
        {
            RpcException plain = Plain(e, upstream);
            if (e.StatusCode == StatusCode.Unavailable)
            {
                upstreams.Suspect(upstream, plain.Status.Detail);
            }

            throw plain;
        }
    }

    private static CallOptions Options(ServerCallContext context)
    {
        Metadata headers = [];
        foreach (Metadata.Entry entry in context.RequestHeaders)
        {
            // What belongs to the client's own connection stays here.
            if (entry.Key is not ("user-agent" or "host" or "content-length"))
            {
                headers.Add(entry);
            }
        }

        DateTime? deadline = context.Deadline == DateTime.MaxValue ? null : context.Deadline;
        return new CallOptions(headers, deadline, context.CancellationToken);
    }

    /// <summary>The status as the member gave it, without what the client library adds; which member does not answer, and why, when it is one that does not.</summary>
    public static RpcException Plain(RpcException e, Upstream upstream) => new(
        new Status(e.StatusCode, NeverSent(e) ? $"etcd grpc-proxy: cannot connect to {upstream.Address}: {e.Status.DebugException!.Message}" : e.Status.Detail), e.Trailers);

    // A channel says by a bare SocketException that it could not connect; what breaks later is wrapped.
    private static bool NeverSent(RpcException e) => e.Status.DebugException is SocketException
        or HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.SecureConnectionError or HttpRequestError.NameResolutionError };
}

/// <summary>What a proxy does to the messages of one method.</summary>
internal sealed record MessageView
{
    public static MessageView None { get; } = new();

    public Func<byte[], byte[]> Request { get; init; } = static bytes => bytes;

    public Func<byte[], byte[]> Response { get; init; } = static bytes => bytes;

    /// <summary>Null, or gives null: the members are asked.</summary>
    public Func<byte[], ServerCallContext, Task<byte[]?>>? Answer { get; init; }
}

using System.Collections.Frozen;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Proxies.KeepAlives;
using Kapell.Etcd.Server.Proxies.Watches;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>Passes on the calls of services as the bytes that they are; a method may be looked into on the way.</summary>
/// <param name="upstreams">Where to.</param>
/// <param name="calls">Of them, those that are one request and one answer.</param>
/// <param name="views">By full name of the method: what is changed in its messages, or who answers in place of the members.</param>
/// <param name="watches">Serves the watches.</param>
/// <param name="keepAlives">Serves the keep-alives of leases.</param>
/// <param name="order">Null: a member that is behind may answer reads after one that is not.</param>
internal sealed class ProxyBinder(
    Upstreams upstreams, UpstreamCalls calls, IReadOnlyDictionary<string, MessageView> views, SharedWatches watches, SharedKeepAlives keepAlives,
    OrderedReads? order)
{
    public const string WatchMethod = "/etcdserverpb.Watch/Watch";

    private static readonly Marshaller<byte[]> Bytes = new(static bytes => bytes, static bytes => bytes);

    /// <summary>A transaction, as bytes.</summary>
    public static Method<byte[], byte[]> TxnMethod { get; } = new(MethodType.Unary, "etcdserverpb.KV", "Txn", Bytes, Bytes);

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
            case MethodType.DuplexStreaming when method.FullName == SharedKeepAlives.Method:
                binder.AddMethod(method, (IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context) =>
                    keepAlives.ServeAsync(method, requests, responses, context));
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
            ? await order.ReadAsync(AskAsync, calls.Members, context.CancellationToken)
            : await AskAsync());
        Task<byte[]> AskAsync() => calls.AskAsync(method, sent, UpstreamCalls.OptionsOf(context), Readers.Contains(method.FullName));
    }

    private async Task StreamAsync(
        Method<byte[], byte[]> method, MessageView view, byte[] request, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        Upstream upstream = upstreams.InOrder()[0];
        using AsyncServerStreamingCall<byte[]> call =
            upstream.Channel.CreateCallInvoker().AsyncServerStreamingCall(method, null, UpstreamCalls.OptionsOf(context), view.Request(request));
        await PassAsync(upstream, call.ResponseStream, responses, view, context);
    }

    private async Task DuplexAsync(
        Method<byte[], byte[]> method, MessageView view, IAsyncStreamReader<byte[]> requests, IServerStreamWriter<byte[]> responses, ServerCallContext context)
    {
        Upstream upstream = upstreams.InOrder()[0];
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        CallOptions options = UpstreamCalls.OptionsOf(context).WithCancellationToken(over.Token);
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
        catch (Exception e) when (e is RpcException or ObjectDisposedException && !context.CancellationToken.IsCancellationRequested)
        {
            RpcException plain = UpstreamCalls.Plain(e, upstream);
            if (plain.StatusCode == StatusCode.Unavailable)
            {
                upstreams.Suspect(upstream, plain.Status.Detail);
            }

            throw plain;
        }
    }
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

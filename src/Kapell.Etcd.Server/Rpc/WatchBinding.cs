using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>The Watch service, whose responses are bytes already; see <see cref="KvBinding"/>.</summary>
public static class WatchBinding
{
    private static readonly Method<WatchRequest, Reply> WatchMethod = new(
        MethodType.DuplexStreaming, "etcdserverpb.Watch", "Watch", KvBinding.RequestMarshaller(WatchRequest.Parser), Reply.Marshaller);

    public static void Bind(ServiceBinderBase binder, WatchServiceBase? service) =>
        binder.AddMethod(WatchMethod, service is null ? null! : service.Watch);
}

/// <summary>The Watch service; see <see cref="WatchService"/>.</summary>
[BindServiceMethod(typeof(WatchBinding), nameof(WatchBinding.Bind))]
public abstract class WatchServiceBase
{
    public abstract Task Watch(
        IAsyncStreamReader<WatchRequest> requestStream, IServerStreamWriter<Reply> responseStream, ServerCallContext context);
}

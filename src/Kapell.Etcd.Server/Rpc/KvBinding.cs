using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// The methods whose responses are bytes already. Grpc.AspNetCore finds <see cref="Bind"/> through the attribute on
/// <see cref="KvServiceBase"/> and the methods by their names.
/// </summary>
public static class KvBinding
{
    private const string Kv = "etcdserverpb.KV";

    private static readonly Method<RangeRequest, Reply> RangeMethod = Unary(Kv, "Range", RangeRequest.Parser);
    private static readonly Method<RangeRequest, Reply> RangeStreamMethod =
        new(MethodType.ServerStreaming, Kv, "RangeStream", RequestMarshaller(RangeRequest.Parser), Reply.Marshaller);

    private static readonly Method<PutRequest, Reply> PutMethod = Unary(Kv, "Put", PutRequest.Parser);
    private static readonly Method<DeleteRangeRequest, Reply> DeleteMethod = Unary(Kv, "DeleteRange", DeleteRangeRequest.Parser);
    private static readonly Method<TxnRequest, Reply> TxnMethod = Unary(Kv, "Txn", TxnRequest.Parser);
    private static readonly Method<CompactionRequest, Reply> CompactMethod = Unary(Kv, "Compact", CompactionRequest.Parser);

    public static void Bind(ServiceBinderBase binder, KvServiceBase? service)
    {
        binder.AddMethod(RangeMethod, service is null ? null! : service.Range);
        binder.AddMethod(RangeStreamMethod, service is null ? null! : service.RangeStream);
        binder.AddMethod(PutMethod, service is null ? null! : service.Put);
        binder.AddMethod(DeleteMethod, service is null ? null! : service.DeleteRange);
        binder.AddMethod(TxnMethod, service is null ? null! : service.Txn);
        binder.AddMethod(CompactMethod, service is null ? null! : service.Compact);
    }

    internal static Marshaller<T> RequestMarshaller<T>(MessageParser<T> parser)
        where T : IMessage<T> => Marshallers.Create(
            static (_, _) => throw new NotSupportedException("requests are only read"),
            context => parser.ParseFrom(context.PayloadAsReadOnlySequence()));

    private static Method<T, Reply> Unary<T>(string service, string name, MessageParser<T> parser)
        where T : class, IMessage<T> => new(MethodType.Unary, service, name, RequestMarshaller(parser), Reply.Marshaller);
}

/// <summary>The KV service; see <see cref="KvService"/>.</summary>
[BindServiceMethod(typeof(KvBinding), nameof(KvBinding.Bind))]
public abstract class KvServiceBase
{
    public abstract Task<Reply> Range(RangeRequest request, ServerCallContext context);

    public abstract Task RangeStream(RangeRequest request, IServerStreamWriter<Reply> responseStream, ServerCallContext context);

    public abstract Task<Reply> Put(PutRequest request, ServerCallContext context);

    public abstract Task<Reply> DeleteRange(DeleteRangeRequest request, ServerCallContext context);

    public abstract Task<Reply> Txn(TxnRequest request, ServerCallContext context);

    public abstract Task<Reply> Compact(CompactionRequest request, ServerCallContext context);
}

using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// Puts a prefix before every key that clients name and takes it away from every key that they are shown, so that they see a store of
/// their own. etcd: client/v3/namespace
/// </summary>
internal sealed class KeyNamespace(string prefix)
{
    private static readonly ByteString ToTheEnd = ByteString.CopyFrom(0);
    private readonly ByteString _prefix = ByteString.CopyFromUtf8(prefix);

    public IReadOnlyDictionary<string, MessageView> Views() => new Dictionary<string, MessageView>(StringComparer.Ordinal)
    {
        ["/etcdserverpb.KV/Range"] = View(RangeRequest.Parser, RangeResponse.Parser, Enter, Leave),
        ["/etcdserverpb.KV/Put"] = View(PutRequest.Parser, PutResponse.Parser, Enter, Leave),
        ["/etcdserverpb.KV/DeleteRange"] = View(DeleteRangeRequest.Parser, DeleteRangeResponse.Parser, Enter, Leave),
        ["/etcdserverpb.KV/Txn"] = View(TxnRequest.Parser, TxnResponse.Parser, Enter, Leave),
        ["/etcdserverpb.Watch/Watch"] = View(WatchRequest.Parser, WatchResponse.Parser, Enter, Leave),
        ["/etcdserverpb.Lease/LeaseTimeToLive"] = View(LeaseTimeToLiveRequest.Parser, LeaseTimeToLiveResponse.Parser, static _ => { }, Leave),
    };

    private static MessageView View<TRequest, TResponse>(
        MessageParser<TRequest> requests, MessageParser<TResponse> responses, Action<TRequest> enter, Action<TResponse> leave)
        where TRequest : IMessage<TRequest>
        where TResponse : IMessage<TResponse>
    {
        static byte[] Change<T>(MessageParser<T> parser, byte[] bytes, Action<T> change)
            where T : IMessage<T>
        {
            T message = parser.ParseFrom(bytes);
            change(message);
            return message.ToByteArray();
        }

        return new MessageView { Request = bytes => Change(requests, bytes, enter), Response = bytes => Change(responses, bytes, leave) };
    }

    /// <summary>The range of keys with the prefix that stands for a client's range.</summary>
    public (ByteString Key, ByteString End) Inside(ByteString key, ByteString end) =>
        (Concat(key), end.IsEmpty ? end : end == ToTheEnd ? After(_prefix) : Concat(end));

    /// <summary>The key with the prefix.</summary>
    public ByteString Concat(ByteString key)
    {
        byte[] whole = new byte[_prefix.Length + key.Length];
        _prefix.Span.CopyTo(whole);
        key.Span.CopyTo(whole.AsSpan(_prefix.Length));
        return UnsafeByteOperations.UnsafeWrap(whole);
    }

    /// <summary>The first key after all that begin so; to the end when there is none.</summary>
    private static ByteString After(ByteString prefix)
    {
        byte[] end = prefix.ToByteArray();
        for (int i = end.Length - 1; i >= 0; i--)
        {
            if (end[i] < byte.MaxValue)
            {
                end[i]++;
                return ByteString.CopyFrom(end, 0, i + 1);
            }
        }

        return ToTheEnd;
    }

    /// <summary>The key without the prefix; one that has it not as it is.</summary>
    public ByteString Strip(ByteString key) => key.Span.StartsWith(_prefix.Span) ? UnsafeByteOperations.UnsafeWrap(key.Memory[_prefix.Length..]) : key;

    private void Enter(RangeRequest request) => (request.Key, request.RangeEnd) = Inside(request.Key, request.RangeEnd);

    private void Enter(PutRequest request) => request.Key = Concat(request.Key);

    private void Enter(DeleteRangeRequest request) => (request.Key, request.RangeEnd) = Inside(request.Key, request.RangeEnd);

    private void Enter(TxnRequest request)
    {
        foreach (Compare compare in request.Compare)
        {
            (compare.Key, compare.RangeEnd) = Inside(compare.Key, compare.RangeEnd);
        }

        foreach (RequestOp op in request.Success.Concat(request.Failure))
        {
            switch (op.RequestCase)
            {
                case RequestOp.RequestOneofCase.RequestRange: Enter(op.RequestRange); break;
                case RequestOp.RequestOneofCase.RequestPut: Enter(op.RequestPut); break;
                case RequestOp.RequestOneofCase.RequestDeleteRange: Enter(op.RequestDeleteRange); break;
                case RequestOp.RequestOneofCase.RequestTxn: Enter(op.RequestTxn); break;
                default: break;
            }
        }
    }

    private void Enter(WatchRequest request)
    {
        if (request.CreateRequest is { } create)
        {
            (create.Key, create.RangeEnd) = Inside(create.Key, create.RangeEnd);
        }
    }

    private void Leave(KeyValue? pair)
    {
        if (pair is not null)
        {
            pair.Key = Strip(pair.Key);
        }
    }

    private void Leave(RangeResponse response)
    {
        foreach (KeyValue pair in response.Kvs)
        {
            Leave(pair);
        }
    }

    private void Leave(PutResponse response) => Leave(response.PrevKv);

    private void Leave(DeleteRangeResponse response)
    {
        foreach (KeyValue pair in response.PrevKvs)
        {
            Leave(pair);
        }
    }

    private void Leave(TxnResponse response)
    {
        foreach (ResponseOp op in response.Responses)
        {
            switch (op.ResponseCase)
            {
                case ResponseOp.ResponseOneofCase.ResponseRange: Leave(op.ResponseRange); break;
                case ResponseOp.ResponseOneofCase.ResponsePut: Leave(op.ResponsePut); break;
                case ResponseOp.ResponseOneofCase.ResponseDeleteRange: Leave(op.ResponseDeleteRange); break;
                case ResponseOp.ResponseOneofCase.ResponseTxn: Leave(op.ResponseTxn); break;
                default: break;
            }
        }
    }

    private void Leave(WatchResponse response)
    {
        foreach (Event one in response.Events)
        {
            Leave(one.Kv);
            Leave(one.PrevKv);
        }
    }

    private void Leave(LeaseTimeToLiveResponse response)
    {
        ByteString[] own = [.. response.Keys.Where(key => key.Span.StartsWith(_prefix.Span)).Select(Strip)];
        response.Keys.Clear();
        response.Keys.AddRange(own);
    }
}

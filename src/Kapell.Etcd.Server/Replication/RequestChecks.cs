using Google.Protobuf;
using Google.Protobuf.Collections;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Replication;

/// <summary>What can be refused by looking at a request alone, before it costs anything. etcd: api/v3rpc/key.go</summary>
public static class RequestChecks
{
    public static EtcdError? Range(RangeRequest request) =>
        request.Key.IsEmpty ? EtcdError.EmptyKey
        : request.SortOrder is < 0 or > RangeRequest.Types.SortOrder.Descend
            || request.SortTarget is < 0 or > RangeRequest.Types.SortTarget.Value ? EtcdError.InvalidSortOption
        : null;

    public static EtcdError? RangeStream(RangeRequest request) => Range(request)
        ?? (request.SortOrder != RangeRequest.Types.SortOrder.None
            && (request.SortTarget != RangeRequest.Types.SortTarget.Key || request.SortOrder == RangeRequest.Types.SortOrder.Descend) ? EtcdError.RangeStreamSorts
            : request.MinModRevision != 0 || request.MaxModRevision != 0 || request.MinCreateRevision != 0 || request.MaxCreateRevision != 0
                ? EtcdError.RangeStreamFilters
            : null);

    public static EtcdError? Put(PutRequest request) =>
        request.Key.IsEmpty ? EtcdError.EmptyKey
        : request.IgnoreValue && !request.Value.IsEmpty ? EtcdError.ValueProvided
        : request.IgnoreLease && request.Lease != 0 ? EtcdError.LeaseProvided
        : null;

    public static EtcdError? DeleteRange(DeleteRangeRequest request) => request.Key.IsEmpty ? EtcdError.EmptyKey : null;

    public static EtcdError? Txn(TxnRequest request, int operationsMax)
    {
        EtcdError? error = Shape(request, operationsMax);
        if (error is not null)
        {
            return error;
        }

        return HasDistinctWrites(request.Success) && HasDistinctWrites(request.Failure) ? null : EtcdError.DuplicateKey;
    }

    public static bool IsNested(TxnRequest request) =>
        request.Success.Any(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestTxn)
        || request.Failure.Any(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestTxn);

    public static bool IsReadOnly(TxnRequest request) =>
        request.Success.All(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestRange)
        && request.Failure.All(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestRange);

    public static bool IsSerializable(TxnRequest request) =>
        request.Success.All(static o => o.RequestRange?.Serializable == true)
        && request.Failure.All(static o => o.RequestRange?.Serializable == true);

    /// <summary>The depth of nesting is bounded with the number: each level takes at least one from what the inner may have.</summary>
    private static EtcdError? Shape(TxnRequest request, int operationsMax)
    {
        int operations = Math.Max(request.Compare.Count, Math.Max(request.Success.Count, request.Failure.Count));
        if (operations > operationsMax)
        {
            return EtcdError.TooManyOps;
        }

        if (request.Compare.Any(static c => c.Key.IsEmpty))
        {
            return EtcdError.EmptyKey;
        }

        foreach (RequestOp op in request.Success.Concat(request.Failure))
        {
            EtcdError? error = op.RequestCase switch
            {
                RequestOp.RequestOneofCase.RequestRange => Range(op.RequestRange),
                RequestOp.RequestOneofCase.RequestPut => Put(op.RequestPut),
                RequestOp.RequestOneofCase.RequestDeleteRange => DeleteRange(op.RequestDeleteRange),
                RequestOp.RequestOneofCase.RequestTxn => Shape(op.RequestTxn, operationsMax - operations),

                // etcd: an empty operation is refused with this text.
                _ => EtcdError.KeyNotFound,
            };
            if (error is not null)
            {
                return error;
            }
        }

        return null;
    }

    // Most transactions do one thing on a path: it clashes with nothing.
    private static bool HasDistinctWrites(RepeatedField<RequestOp> path) =>
        path.Count == 0 || (path.Count == 1 && path[0].RequestCase != RequestOp.RequestOneofCase.RequestTxn) || TryCollect(path, new Writes());

    /// <summary>No key may be written twice, or put and deleted, on one path. etcd: key.go checkIntervals</summary>
    private static bool TryCollect(IEnumerable<RequestOp> operations, Writes writes)
    {
        List<RequestOp> all = [.. operations];
        foreach (RequestOp op in all.Where(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestDeleteRange))
        {
            writes.Deletes.Add(op.RequestDeleteRange.Key, op.RequestDeleteRange.RangeEnd);
        }

        foreach (RequestOp op in all.Where(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestTxn))
        {
            Writes then = new();
            Writes otherwise = new();
            if (!TryCollect(op.RequestTxn.Success, then) || !TryCollect(op.RequestTxn.Failure, otherwise))
            {
                return false;
            }

            if (then.Puts.Any(k => writes.Puts.Contains(k) || writes.Deletes.Contains(k))
                || otherwise.Puts.Any(k => writes.Puts.Contains(k) || writes.Deletes.Contains(k)))
            {
                return false;
            }

            writes.Add(then);
            writes.Add(otherwise);
        }

        foreach (RequestOp op in all.Where(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestPut))
        {
            if (writes.Deletes.Contains(op.RequestPut.Key) || !writes.Puts.Add(op.RequestPut.Key))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>What a path writes. There may be hundreds of thousands of both.</summary>
    private sealed class Writes
    {
        public HashSet<ByteString> Puts { get; private set; } = [];

        public DisjointRanges Deletes { get; private set; } = new();

        /// <summary>The other is used up: the smaller goes into the larger.</summary>
        public void Add(Writes other)
        {
            (HashSet<ByteString> fewer, Puts) = Puts.Count < other.Puts.Count ? (Puts, other.Puts) : (other.Puts, Puts);
            Puts.UnionWith(fewer);
            Deletes = DisjointRanges.Union(Deletes, other.Deletes);
        }
    }
}

using Google.Protobuf.Collections;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// Transactions and the single writes, against the store. First the comparisons of all levels choose the path, then everything on it
/// is checked, then it is carried out and cannot fail any more. etcd: etcdserver/txn/txn.go, put.go, delete.go
/// </summary>
internal sealed class TxnExecutor(MvccStore store)
{
    private readonly RangeResult _range = new();

    public EtcdError? CheckPut(PutRequest request)
    {
        if (request.Lease != 0 && !store.Leases.Contains(request.Lease))
        {
            return EtcdError.LeaseNotFound;
        }

        bool needsPrevious = request.IgnoreValue || request.IgnoreLease;
        return needsPrevious && !store.TryGet(request.Key.Span, 0, out _) ? EtcdError.KeyNotFound : null;
    }

    /// <summary>Fills in everything of the response but the header. Inside a write.</summary>
    public void Put(PutRequest request, ReplyWriter? writer)
    {
        bool had = store.TryGet(request.Key.Span, 0, out RecordAddress previous);
        if (request.IgnoreValue || request.IgnoreLease)
        {
            Check.That(had);
            KeyValueRecord old = store.Read(previous);
            store.Put(
                request.Key.Span,
                request.IgnoreValue ? old.Value : request.Value.Span,
                request.IgnoreLease ? old.Lease : request.Lease);
        }
        else
        {
            store.Put(request.Key.Span, request.Value.Span, request.Lease);
        }

        if (request.PrevKv && had)
        {
            writer?.Nested(2, store.ReadBytes(previous));
        }
    }

    public void DeleteRange(DeleteRangeRequest request, ReplyWriter? writer)
    {
        List<RecordAddress>? deleted = request.PrevKv ? [] : null;
        long count = store.DeleteRange(request.Key.Span, request.RangeEnd.Span, deleted);
        writer?.Number(2, count);
        foreach (RecordAddress address in deleted ?? [])
        {
            writer?.Nested(3, store.ReadBytes(address));
        }
    }

    /// <summary>The path that the comparisons choose now.</summary>
    public Plan Choose(TxnRequest request)
    {
        bool succeeded = true;
        foreach (Compare compare in request.Compare)
        {
            if (!Holds(compare))
            {
                succeeded = false;
                break;
            }
        }

        RepeatedField<RequestOp> operations = succeeded ? request.Success : request.Failure;
        List<Plan> inner = [];
        foreach (RequestOp op in operations)
        {
            if (op.RequestCase == RequestOp.RequestOneofCase.RequestTxn)
            {
                inner.Add(Choose(op.RequestTxn));
            }
        }

        return new Plan(succeeded, operations, inner);
    }

    public EtcdError? CheckPlan(Plan plan) => CheckPlan(plan, []);

    /// <param name="deletes">On the path before this.</param>
    private EtcdError? CheckPlan(Plan plan, List<DeleteRangeRequest> deletes)
    {
        int nested = 0;
        foreach (RequestOp op in plan.Operations)
        {
            EtcdError? error = op.RequestCase switch
            {
                RequestOp.RequestOneofCase.RequestRange => CheckRange(op.RequestRange),
                RequestOp.RequestOneofCase.RequestPut => CheckPut(op.RequestPut) ?? CheckPutAfter(op.RequestPut, deletes),
                RequestOp.RequestOneofCase.RequestTxn => CheckPlan(plan.Inner[nested++], deletes),
                _ => null,
            };
            if (op.RequestCase == RequestOp.RequestOneofCase.RequestDeleteRange)
            {
                deletes.Add(op.RequestDeleteRange);
            }

            if (error is not null)
            {
                return error;
            }
        }

        return null;
    }

    // A range without an end may lie before a put of one of its keys (RequestChecks), which then finds no value or lease to keep. etcd panics.
    private static EtcdError? CheckPutAfter(PutRequest request, List<DeleteRangeRequest> deletes) =>
        (request.IgnoreValue || request.IgnoreLease) && deletes.Exists(d => KeyRange.Contains(d.Key.Span, d.RangeEnd.Span, request.Key.Span))
            ? EtcdError.KeyNotFound
            : null;

    // Alone, a negative revision asks for the newest; in a transaction it is one that is compacted, once there was a compaction. etcd: range.go
    private EtcdError? CheckRange(RangeRequest request) => request.Revision < 0 && store.CompactRevision > 0
        ? EtcdError.Compacted
        : ReplyEncoder.ToError(store.CheckRevision(request.Revision));

    /// <summary>Everything of the response but the header.</summary>
    public void Run(Plan plan, ReplyWriter? writer)
    {
        writer?.Flag(2, plan.Succeeded);
        int nested = 0;
        foreach (RequestOp op in plan.Operations)
        {
            int response = writer?.Begin(3) ?? 0;
            switch (op.RequestCase)
            {
                case RequestOp.RequestOneofCase.RequestRange:
                    Range(op.RequestRange, writer);
                    break;
                case RequestOp.RequestOneofCase.RequestPut:
                    RunPut(op.RequestPut, writer);
                    break;
                case RequestOp.RequestOneofCase.RequestDeleteRange:
                    RunDelete(op.RequestDeleteRange, writer);
                    break;
                case RequestOp.RequestOneofCase.RequestTxn:
                    RunInner(plan.Inner[nested++], writer);
                    break;
                default:
                    Check.Unreachable("an empty operation passed the checks");
                    break;
            }

            writer?.End(response);
        }
    }

    private static bool Judge(Compare compare, int order) => compare.Result switch
    {
        Compare.Types.CompareResult.Equal => order == 0,
        Compare.Types.CompareResult.NotEqual => order != 0,
        Compare.Types.CompareResult.Greater => order > 0,
        Compare.Types.CompareResult.Less => order < 0,

        // etcd: compareKV lets an unknown comparison hold.
        _ => true,
    };

    private void RunPut(PutRequest request, ReplyWriter? writer)
    {
        int mark = writer?.Begin(2) ?? 0;
        if (writer is not null)
        {
            // The revision that this write makes; Put itself comes after, for its previous value is told behind the header.
            ReplyHeader.WriteInner(writer, store.Revision + 1);
        }

        Put(request, writer);
        writer?.End(mark);
    }

    private void RunDelete(DeleteRangeRequest request, ReplyWriter? writer)
    {
        int mark = writer?.Begin(3) ?? 0;
        DeleteRange(request, writer);
        if (writer is not null)
        {
            ReplyHeader.WriteInner(writer, store.ViewRevision);
            writer.End(mark);
        }
    }

    private void RunInner(Plan plan, ReplyWriter? writer)
    {
        int mark = writer?.Begin(4) ?? 0;
        if (writer is not null)
        {
            // There, and empty. etcd: txn.go newTxnResp
            writer.End(writer.Begin(1));
        }

        Run(plan, writer);
        writer?.End(mark);
    }

    private void Range(RangeRequest request, ReplyWriter? writer)
    {
        if (writer is null || writer.IsTooLarge)
        {
            return;
        }

        RevisionStatus status = store.Range(ReplyEncoder.ToQuery(request), _range);
        Check.That(status == RevisionStatus.Ok);
        int mark = writer.Begin(1);
        ReplyHeader.WriteInner(writer, _range.StoreRevision);
        ReplyEncoder.RangeBody(writer, store, _range, request.KeysOnly);
        writer.End(mark);
    }

    private bool Holds(Compare compare)
    {
        RangeQuery query = new() { Key = compare.Key.Span, End = compare.RangeEnd.Span };
        RevisionStatus status = store.Range(query, _range);
        Check.That(status == RevisionStatus.Ok);
        if (_range.Records.Count == 0)
        {
            // A key that is not there has zeros, but no value to compare with. etcd: txn.go applyCompare
            return compare.Target != Compare.Types.CompareTarget.Value && Holds(compare, default);
        }

        foreach (RecordAddress address in _range.Records)
        {
            if (!Holds(compare, store.Read(address)))
            {
                return false;
            }
        }

        return true;
    }

    private static bool Holds(Compare compare, KeyValueRecord record) => compare.Target switch
    {
        Compare.Types.CompareTarget.Value => Judge(compare, record.Value.SequenceCompareTo(compare.Value.Span)),
        Compare.Types.CompareTarget.Create => Judge(compare, record.CreateRevision.CompareTo(compare.CreateRevision)),
        Compare.Types.CompareTarget.Mod => Judge(compare, record.ModRevision.CompareTo(compare.ModRevision)),
        Compare.Types.CompareTarget.Version => Judge(compare, record.Version.CompareTo(compare.Version)),
        Compare.Types.CompareTarget.Lease => Judge(compare, record.Lease.CompareTo(compare.Lease)),
        _ => Judge(compare, 0),
    };

    /// <summary>A transaction with its branches chosen.</summary>
    internal sealed record Plan(bool Succeeded, RepeatedField<RequestOp> Operations, List<Plan> Inner)
    {
        public bool Puts => Operations.Any(static o => o.RequestCase == RequestOp.RequestOneofCase.RequestPut) || Inner.Exists(static p => p.Puts);
    }
}

using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Who answers: stands in the header of each response.</summary>
public readonly record struct ReplyHeader(ulong ClusterId, ulong MemberId, ulong RaftTerm)
{
    public void Write(ReplyWriter writer, long revision)
    {
        int mark = writer.Begin(1);
        writer.Number(1, ClusterId);
        writer.Number(2, MemberId);
        writer.Number(3, revision);
        writer.Number(4, RaftTerm);
        writer.End(mark);
    }

    public ResponseHeader ToMessage(long revision) =>
        new() { ClusterId = ClusterId, MemberId = MemberId, Revision = revision, RaftTerm = RaftTerm };

    /// <summary>Inside a transaction only the revision is told. etcd: txn.go</summary>
    public static void WriteInner(ReplyWriter writer, long revision)
    {
        int mark = writer.Begin(1);
        writer.Number(3, revision);
        writer.End(mark);
    }
}

/// <summary>The bodies of the KV responses, by the field numbers of etcdserverpb.</summary>
internal static class ReplyEncoder
{
    public static RangeQuery ToQuery(RangeRequest request) => new()
    {
        Key = request.Key.Span,
        End = request.RangeEnd.Span,
        Limit = request.Limit,
        Revision = request.Revision,
        SortOrder = (SortOrder)request.SortOrder,
        SortTarget = (SortTarget)request.SortTarget,
        CountOnly = request.CountOnly,
        MinModRevision = request.MinModRevision,
        MaxModRevision = request.MaxModRevision,
        MinCreateRevision = request.MinCreateRevision,
        MaxCreateRevision = request.MaxCreateRevision,
    };

    public static EtcdError? ToError(RevisionStatus status) => status switch
    {
        RevisionStatus.Compacted => EtcdError.Compacted,
        RevisionStatus.Future => EtcdError.FutureRevision,
        _ => null,
    };

    public static void RangeBody(ReplyWriter writer, MvccStore store, RangeResult result, bool keysOnly)
    {
        RangeRecords(writer, store, result, keysOnly);
        RangeEnd(writer, result);
    }

    public static void RangeEnd(ReplyWriter writer, RangeResult result)
    {
        writer.Flag(3, result.More);
        writer.Number(4, result.Count);
    }

    /// <summary>Without values their bytes are not even read: a record says where its value is.</summary>
    public static void RangeRecords(ReplyWriter writer, MvccStore store, RangeResult result, bool keysOnly) =>
        RangeRecords(writer, store, result, keysOnly, 0, result.Records.Count);

    /// <summary>Of them those from <paramref name="first"/> up to <paramref name="end"/>.</summary>
    public static void RangeRecords(ReplyWriter writer, MvccStore store, RangeResult result, bool keysOnly, int first, int end)
    {
        for (int i = first; i < end; i++)
        {
            RecordAddress address = result.Records[i];
            if (keysOnly)
            {
                writer.KeyValue(2, store.Read(address), keysOnly: true);
            }
            else
            {
                writer.Nested(2, store.ReadBytes(address));
            }
        }
    }
}

using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>What a store says of a stretch of its keys. One answer costs at most about a millisecond.</summary>
internal static class StoreAnswers
{
    public const int KeysMax = 1000;
    public const int ListMax = 64;
    private const long BytesMax = 512 * 1024;

    // Somebody who has more than who asks is cut off later, so that a cut always means a difference.
    private const int Generosity = 4;

    public static CompareAnswer Answer(MvccStore store, CompareRequest request)
    {
        CompareAnswer answer = new() { OwnRevision = store.Revision, OwnCompactRevision = store.CompactRevision };
        if (request.Revision > store.Revision || request.CompactRevision > request.Revision || request.CompactRevision < 0)
        {
            answer.Status = CompareAnswer.Types.Status.Future;
            return answer;
        }

        if (request.CompactRevision < store.CompactRevision)
        {
            answer.Status = CompareAnswer.Types.Status.Compacted;
            return answer;
        }

        bool asked = request.KeysMax > 0;
        StretchQuery query = new()
        {
            Start = request.Start.Span,
            End = request.End.Span,
            Revision = request.Revision,
            CompactRevision = request.CompactRevision,
            KeysMax = request.List ? ListMax : asked ? (int)Math.Min(request.KeysMax, KeysMax) : KeysMax * Generosity,
            BytesMax = asked ? BytesMax : BytesMax * Generosity,
        };
        if (request.List)
        {
            answer.Changes.AddRange(Stretch.List(store, query).Select(static c => new ComparedChange
            {
                Key = UnsafeByteOperations.UnsafeWrap(c.Key), Revision = c.Revision, Deleted = c.IsTombstone, Crc = c.Crc,
            }));
            return answer;
        }

        StretchSum sum = Stretch.Sum(store, query, out byte[]? next);
        (answer.Keys, answer.Records, answer.Bytes, answer.Crc) = (sum.Keys, sum.Records, sum.Bytes, sum.Crc);
        (answer.Cut, answer.Next) = (next is not null, UnsafeByteOperations.UnsafeWrap(next ?? []));
        bool unseen = !asked && answer.Cut && sum.Keys < query.KeysMax && sum.Bytes < query.BytesMax;
        answer.Status = unseen ? CompareAnswer.Types.Status.Unseen : CompareAnswer.Types.Status.Ok;
        return answer;
    }
}

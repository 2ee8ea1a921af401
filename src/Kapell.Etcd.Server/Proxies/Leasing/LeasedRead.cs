using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>Reads of one key that are answered from all that is known of it.</summary>
internal static class LeasedRead
{
    /// <summary>Whether what a key holds now is the answer, or part of it.</summary>
    public static bool IsOfOneKey(RangeRequest request) => request.Revision == 0 && request.RangeEnd.IsEmpty && !request.Key.IsEmpty;

    /// <summary>The keys that decide a transaction which writes nothing; null when it asks for more than what single keys hold.</summary>
    public static IReadOnlyCollection<ByteString>? KeysOf(TxnRequest request)
    {
        HashSet<ByteString> keys = [];
        foreach (Compare compare in request.Compare)
        {
            bool isKnown = Enum.IsDefined(compare.Target) && Enum.IsDefined(compare.Result);
            if (!compare.RangeEnd.IsEmpty || compare.Key.IsEmpty || !isKnown)
            {
                return null;
            }

            keys.Add(compare.Key);
        }

        foreach (RequestOp op in request.Success.Concat(request.Failure))
        {
            if (op.RequestRange is not { } range || !IsOfOneKey(range))
            {
                return null;
            }

            keys.Add(range.Key);
        }

        return keys;
    }

    /// <summary>The answer to such a transaction from what its keys, one at least, hold. etcd: server/etcdserver/txn applyCompare</summary>
    public static TxnResponse Answer(TxnRequest request, IReadOnlyDictionary<ByteString, RangeResponse> known)
    {
        TxnResponse answer = new()
        {
            Header = known.Values.Select(static k => k.Header).MaxBy(static h => h.Revision)!,
            Succeeded = request.Compare.All(compare => Holds(compare, known[compare.Key].Kvs is [var pair] ? pair : null)),
        };
        foreach (RequestOp op in answer.Succeeded ? request.Success : request.Failure)
        {
            RangeResponse range = Answer(op.RequestRange, known[op.RequestRange.Key]);
            range.Header = new ResponseHeader { Revision = answer.Header.Revision }; // The rest stands in the transaction's.
            answer.Responses.Add(new ResponseOp { ResponseRange = range });
        }

        return answer;
    }

    /// <summary>All that there is to know of the key.</summary>
    public static RangeRequest Of(ByteString key) => new() { Key = key };

    /// <summary>The answer to the request from that to <see cref="Of"/>, as a member would give it.</summary>
    public static RangeResponse Answer(RangeRequest request, RangeResponse whole)
    {
        RangeResponse answer = new() { Header = whole.Header, Count = whole.Count };
        if (whole.Kvs.Count == 0 || request.CountOnly)
        {
            return answer;
        }

        KeyValue pair = whole.Kvs[0];
        bool wanted = pair.ModRevision >= request.MinModRevision && pair.CreateRevision >= request.MinCreateRevision
            && (request.MaxModRevision == 0 || pair.ModRevision <= request.MaxModRevision)
            && (request.MaxCreateRevision == 0 || pair.CreateRevision <= request.MaxCreateRevision);
        if (wanted)
        {
            answer.Kvs.Add(request.KeysOnly ? new KeyValue(pair) { Value = ByteString.Empty } : pair);
        }

        return answer;
    }

    private static bool Holds(Compare compare, KeyValue? pair)
    {
        int order = compare.Target switch
        {
            Compare.Types.CompareTarget.Version => (pair?.Version ?? 0).CompareTo(compare.Version),
            Compare.Types.CompareTarget.Create => (pair?.CreateRevision ?? 0).CompareTo(compare.CreateRevision),
            Compare.Types.CompareTarget.Mod => (pair?.ModRevision ?? 0).CompareTo(compare.ModRevision),
            Compare.Types.CompareTarget.Lease => (pair?.Lease ?? 0).CompareTo(compare.Lease),
            _ => (pair?.Value ?? ByteString.Empty).Span.SequenceCompareTo(compare.Value.Span),
        };
        bool isOfNothing = pair is null && compare.Target == Compare.Types.CompareTarget.Value;
        return !isOfNothing && compare.Result switch
        {
            Compare.Types.CompareResult.Equal => order == 0,
            Compare.Types.CompareResult.NotEqual => order != 0,
            Compare.Types.CompareResult.Greater => order > 0,
            _ => order < 0,
        };
    }
}

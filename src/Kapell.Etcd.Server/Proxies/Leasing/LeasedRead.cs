using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Proxies.Leasing;

/// <summary>Reads of one key that are answered from all that is known of it.</summary>
internal static class LeasedRead
{
    /// <summary>Whether what a key holds now is the answer, or part of it.</summary>
    public static bool IsOfOneKey(RangeRequest request) => request.Revision == 0 && request.RangeEnd.IsEmpty && !request.Key.IsEmpty;

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
}

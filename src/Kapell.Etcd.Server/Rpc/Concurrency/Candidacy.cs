using System.Globalization;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Rpc.Concurrency;

/// <summary>
/// What locks and elections are made of: each candidate puts a key of its lease under a common prefix, the oldest holds, the others wait
/// until those before them are gone. etcd: client/v3/concurrency
/// </summary>
public sealed class Candidacy(KvService kv, LeaseService leases, WatchServiceBase watch)
{
    // etcd: concurrency/session.go defaultSessionTTL
    private const long LeaseTtlSeconds = 60;

    internal Standing Standing { get; } = new();

    /// <summary>The lease that was given, or a new one.</summary>
    public async Task<long> LeaseAsync(long lease, ServerCallContext context) =>
        lease != 0 ? lease : (await leases.LeaseGrant(new LeaseGrantRequest { TTL = LeaseTtlSeconds }, context)).ID;

    /// <summary>The key under a prefix that belongs to a lease.</summary>
    public static ByteString KeyOf(ByteString prefix, long lease) =>
        ByteString.CopyFrom([.. prefix.Span, .. Encoding.ASCII.GetBytes(Hex(lease))]);

    /// <summary>Keys of one lock or election lie under its name and a slash.</summary>
    public static ByteString PrefixOf(ByteString name) => ByteString.CopyFrom([.. name.Span, (byte)'/']);

    public async Task<TxnResponse> TxnAsync(TxnRequest request, ServerCallContext context) =>
        TxnResponse.Parser.ParseFrom((await kv.Txn(request, context)).Span);

    public async Task<RangeResponse> RangeAsync(RangeRequest request, ServerCallContext context) =>
        RangeResponse.Parser.ParseFrom((await kv.Range(request, context)).Take());

    public async Task<DeleteRangeResponse> DeleteAsync(ByteString key, ServerCallContext context) =>
        DeleteRangeResponse.Parser.ParseFrom((await kv.DeleteRange(new DeleteRangeRequest { Key = key }, context)).Span);

    internal StoreWatch Watch(WatchCreateRequest request, ServerCallContext context) => new(watch, request, context);

    /// <summary>The oldest key under a prefix.</summary>
    public static RangeRequest First(ByteString prefix) => new()
    {
        Key = prefix,
        RangeEnd = End(prefix),
        Limit = 1,
        SortOrder = RangeRequest.Types.SortOrder.Ascend,
        SortTarget = RangeRequest.Types.SortTarget.Create,
    };

    public static Compare CreatedAt(ByteString key, long revision) => new()
    {
        Key = key,
        Target = Compare.Types.CompareTarget.Create,
        Result = Compare.Types.CompareResult.Equal,
        CreateRevision = revision,
    };

    /// <summary>Ends when no key under the prefix is left that was made at or before a revision.</summary>
    public async Task WaitForThoseBeforeAsync(ByteString prefix, long revision, ServerCallContext context)
    {
        RangeRequest last = First(prefix);
        last.SortOrder = RangeRequest.Types.SortOrder.Descend;
        last.MaxCreateRevision = revision;
        while (true)
        {
            RangeResponse response = await RangeAsync(last, context);
            if (response.Kvs.Count == 0)
            {
                return;
            }

            WatchCreateRequest request = new() { Key = response.Kvs[0].Key, StartRevision = response.Header.Revision };
            await using StoreWatch deletion = Watch(request, context);
            bool gone = false;
            while (!gone)
            {
                gone = (await deletion.NextAsync(context.CancellationToken)).Events.Any(static e => e.Type == Event.Types.EventType.Delete);
            }
        }
    }

    /// <summary>The first key after all that begin with the prefix.</summary>
    public static ByteString End(ByteString prefix)
    {
        byte[] end = prefix.ToByteArray();
        for (int i = end.Length - 1; i >= 0; i--)
        {
            if (end[i] < 0xFF)
            {
                end[i]++;
                return ByteString.CopyFrom(end, 0, i + 1);
            }
        }

        return ByteString.CopyFrom(0);
    }

    // As Go prints a signed number with %x.
    private static string Hex(long value) =>
        value < 0 ? "-" + ((UInt128)(-(Int128)value)).ToString("x", CultureInfo.InvariantCulture) : value.ToString("x", CultureInfo.InvariantCulture);
}

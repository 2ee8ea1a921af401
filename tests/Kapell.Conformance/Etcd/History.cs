using Google.Protobuf;
using Kapell.Etcd.Protocol;

namespace Kapell.Conformance.Etcd;

/// <summary>A history with all kinds of changes, in parts, the same each time.</summary>
internal static class History
{
    public const long Lease = 0x1234;
    public const long OtherLease = 0x77;

    public static IReadOnlyList<(string Name, Func<StoreClient, Task> Part)> Parts { get; } =
    [
        ("puts", PutsAsync), ("overwrites and deletions", ChangesAsync), ("transactions", TransactionsAsync), ("leases", LeasesAsync),
        ("a compaction", CompactAsync), ("puts after it", PutsAsync), ("deletions of all", DeleteAllAsync), ("puts after that", PutsAsync),
        ("a second compaction", CompactAsync), ("transactions again", TransactionsAsync),
    ];

    private static async Task PutsAsync(StoreClient store)
    {
        for (int i = 0; i < 30; i++)
        {
            await store.PutAsync($"k{i * 37 % 30:d2}", new string((char)('a' + (i % 26)), i * i));
        }
    }

    private static async Task ChangesAsync(StoreClient store)
    {
        for (int i = 0; i < 12; i++)
        {
            await store.PutAsync("k07", $"{i}");
        }

        await store.DeleteAsync("k08");
        await store.DeleteAsync(new DeleteRangeRequest { Key = store.Key("k10"), RangeEnd = store.Key("k20") });
        await store.PutAsync("k12", "back");
        await store.PutAsync("k09", "");
    }

    private static async Task TransactionsAsync(StoreClient store)
    {
        TxnRequest txn = new();
        foreach (string key in (string[])["z", "y", "x"])
        {
            txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key(key), Value = StoreClient.Bytes(key) } });
        }

        txn.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = store.Key("k3"), RangeEnd = store.Key("k4") } });
        await store.TxnAsync(txn);
        await store.TxnAsync(new TxnRequest { Success = { new RequestOp { RequestTxn = txn } } });
    }

    private static async Task LeasesAsync(StoreClient store)
    {
        await store.GrantAsync(Lease, 3000);
        await store.GrantAsync(OtherLease, 4000);
        await store.PutAsync("leased/1", "v", Lease);
        await store.PutAsync("leased/2", "v", OtherLease);
        await store.PutAsync("leased/3", "v", Lease);
    }

    private static async Task CompactAsync(StoreClient store) => await store.CompactAsync(await store.RevisionAsync() - 5, physical: true);

    private static async Task DeleteAllAsync(StoreClient store)
    {
        ByteString all = ByteString.CopyFrom(0);
        await store.DeleteAsync(new DeleteRangeRequest { Key = all, RangeEnd = all });
        await store.CompactAsync(await store.RevisionAsync(), physical: true);
    }
}

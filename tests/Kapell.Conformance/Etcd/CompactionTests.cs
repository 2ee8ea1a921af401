using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>KV.Compact and what it takes away.</summary>
public sealed class CompactionTests(StorePair stores)
{
    private const string Compacted = "OutOfRange: etcdserver: mvcc: required revision has been compacted";
    private const string Future = "OutOfRange: etcdserver: mvcc: required revision is a future revision";

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Revisions_below_are_gone_and_the_state_at_it_stays(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long first = (await store.PutAsync("a", "1")).Header.Revision;
        await store.PutAsync("b", "1");
        await store.PutAsync("a", "2");
        await store.DeleteAsync("b");
        await store.PutAsync("a", "3");
        await store.CompactAsync(first + 2);
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.GetAsync("a", first + 1)));
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.GetAsync("a", first)));
        Assert.Equal("a=2", store.Show(await store.GetAsync("a", first + 2)));
        Assert.Equal("b=1", store.Show(await store.GetAsync("b", first + 2)));
        Assert.Equal("", store.Show(await store.GetAsync("b", first + 3)));
        Assert.Equal("a=3", store.Show(await store.RangeAsync(store.All())));
        TxnRequest txn = new() { Success = { new RequestOp { RequestRange = new RangeRequest { Key = store.Key("a"), Revision = first } } } };
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.TxnAsync(txn)));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task It_goes_forward_only_and_not_beyond_now(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long now = (await store.PutAsync("a", "1")).Header.Revision;
        Assert.Equal(Future, await StoreClient.RefusalAsync(() => store.CompactAsync(now + 1)));
        await store.CompactAsync(now - 1);
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.CompactAsync(now - 1)));
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.CompactAsync(0)));
        Assert.Equal(Compacted, await StoreClient.RefusalAsync(() => store.CompactAsync(-3)));
        await store.CompactAsync(now, physical: true);
        Assert.Equal("a=1", store.Show(await store.GetAsync("a", now)));
        Assert.Equal("a=1", store.Show(await store.GetAsync("a")));
        CompactionResponse response = await store.Kv.CompactAsync(
            new CompactionRequest { Revision = (await store.PutAsync("a", "2")).Header.Revision });
        Assert.Equal(now + 1, response.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_deleted_key_begins_anew_after_it(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        await store.PutAsync("a", "2");
        long deleted = (await store.DeleteAsync("a")).Header.Revision;
        await store.CompactAsync(deleted, physical: true);
        Assert.Equal("", store.Show(await store.GetAsync("a", deleted)));
        long created = (await store.PutAsync("a", "3")).Header.Revision;
        KeyValue pair = (await store.GetAsync("a")).Kvs[0];
        Assert.Equal((created, 1), (pair.CreateRevision, pair.Version));
    }
}

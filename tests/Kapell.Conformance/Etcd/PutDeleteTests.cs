using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>KV.Put and KV.DeleteRange.</summary>
public sealed class PutDeleteTests(StorePair stores)
{
    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Put_tells_the_pair_before_when_asked(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        PutResponse first = await store.PutAsync(new PutRequest { Key = store.Key("a"), Value = StoreClient.Bytes("1"), PrevKv = true });
        Assert.Null(first.PrevKv);
        PutResponse second = await store.PutAsync(new PutRequest { Key = store.Key("a"), Value = StoreClient.Bytes("2"), PrevKv = true });
        Assert.Equal("1", second.PrevKv.Value.ToStringUtf8());
        Assert.Equal((1, first.Header.Revision), (second.PrevKv.Version, second.PrevKv.ModRevision));
        Assert.Null((await store.PutAsync("a", "3")).PrevKv);
        await store.DeleteAsync("a");
        Assert.Null((await store.PutAsync(new PutRequest { Key = store.Key("a"), PrevKv = true })).PrevKv);
        KeyValue anew = (await store.GetAsync("a")).Kvs[0];
        Assert.Equal((1, anew.ModRevision), (anew.Version, anew.CreateRevision));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Put_may_keep_the_value_or_the_lease(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 100)).ID;
        PutRequest keepValue = new() { Key = store.Key("a"), IgnoreValue = true, Lease = lease };
        PutRequest keepLease = new() { Key = store.Key("a"), IgnoreLease = true, Value = StoreClient.Bytes("2") };
        Assert.Equal("InvalidArgument: etcdserver: key not found", await StoreClient.RefusalAsync(() => store.PutAsync(keepValue)));
        Assert.Equal("InvalidArgument: etcdserver: key not found", await StoreClient.RefusalAsync(() => store.PutAsync(keepLease)));
        await store.PutAsync("a", "1");
        await store.PutAsync(keepValue);
        KeyValue pair = (await store.GetAsync("a")).Kvs[0];
        Assert.Equal(("1", lease, 2), (pair.Value.ToStringUtf8(), pair.Lease, pair.Version));
        await store.PutAsync(keepLease);
        pair = (await store.GetAsync("a")).Kvs[0];
        Assert.Equal(("2", lease, 3), (pair.Value.ToStringUtf8(), pair.Lease, pair.Version));
        await store.PutAsync(new PutRequest { Key = store.Key("a"), IgnoreValue = true, IgnoreLease = true, PrevKv = true });
        await store.PutAsync("a", "3");
        Assert.Equal(0, (await store.GetAsync("a")).Kvs[0].Lease);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Put_is_refused_when_it_contradicts_itself(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        long before = await store.RevisionAsync();
        async Task Refused(string expected, PutRequest request) =>
            Assert.Equal(expected, await StoreClient.RefusalAsync(() => store.PutAsync(request)));
        ByteString key = store.Key("a");
        await Refused("InvalidArgument: etcdserver: key is not provided", new PutRequest { Value = key });
        await Refused("InvalidArgument: etcdserver: value is provided", new PutRequest { Key = key, Value = key, IgnoreValue = true });
        await Refused("InvalidArgument: etcdserver: lease is provided", new PutRequest { Key = key, Lease = 1, IgnoreLease = true });
        await Refused("NotFound: etcdserver: requested lease not found", new PutRequest { Key = key, Lease = 0x7777 });
        await Refused("NotFound: etcdserver: requested lease not found", new PutRequest { Key = key, Lease = -5 });
        Assert.Equal(before, await store.RevisionAsync());
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_request_beyond_the_limit_of_size_is_refused(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync(new PutRequest { Key = store.Key("large"), Value = ByteString.CopyFrom(new byte[1536 * 1024 - 1000]) });
        PutRequest beyond = new() { Key = store.Key("large"), Value = ByteString.CopyFrom(new byte[1536 * 1024]) };
        Assert.Equal("InvalidArgument: etcdserver: request is too large", await StoreClient.RefusalAsync(() => store.PutAsync(beyond)));
        PutRequest frame = new() { Key = store.Key("large"), Value = ByteString.CopyFrom(new byte[3 << 20]) };
        Assert.StartsWith("ResourceExhausted: ", await StoreClient.RefusalAsync(() => store.PutAsync(frame)), StringComparison.Ordinal);
        await store.DeleteAsync("large");
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Delete_counts_and_tells_what_was_there(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        foreach (string key in (string[])["a", "b", "c", "d"])
        {
            await store.PutAsync(key, key);
        }

        long before = await store.RevisionAsync();
        DeleteRangeResponse none = await store.DeleteAsync("x");
        Assert.Equal((0, before, 0), (none.Deleted, none.Header.Revision, none.PrevKvs.Count));
        DeleteRangeResponse one = await store.DeleteAsync("a");
        Assert.Equal((1, before + 1, 0), (one.Deleted, one.Header.Revision, one.PrevKvs.Count));
        DeleteRangeResponse two = await store.DeleteAsync(
            new DeleteRangeRequest { Key = store.Key("a"), RangeEnd = store.Key("d"), PrevKv = true });
        Assert.Equal((2, before + 2, "b=b c=c"), (two.Deleted, two.Header.Revision, store.Show(two.PrevKvs)));
        DeleteRangeResponse empty = await store.DeleteAsync(new DeleteRangeRequest { Key = store.Key("z"), RangeEnd = store.Key("a"), PrevKv = true });
        Assert.Equal((0, before + 2), (empty.Deleted, empty.Header.Revision));
        Assert.Equal("d=d", store.Show(await store.RangeAsync(store.All())));
        Assert.Equal(
            "InvalidArgument: etcdserver: key is not provided",
            await StoreClient.RefusalAsync(() => store.DeleteAsync(new DeleteRangeRequest { RangeEnd = store.Key("z") })));
        DeleteRangeResponse rest = await store.DeleteAsync(new DeleteRangeRequest { Key = StoreClient.Bytes(store.Prefix), RangeEnd = store.PrefixEnd });
        Assert.Equal(1, rest.Deleted);
    }
}

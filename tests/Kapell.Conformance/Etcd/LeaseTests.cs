using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Lease.</summary>
public sealed class LeaseTests(StorePair stores)
{
    private const string NotFound = "NotFound: etcdserver: requested lease not found";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Granted_with_a_number_or_without(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        LeaseGrantResponse chosen = await store.GrantAsync(0x5001, 60);
        Assert.Equal((0x5001, 60, ""), (chosen.ID, chosen.TTL, chosen.Error));
        Assert.Equal(await store.RevisionAsync(), chosen.Header.Revision);
        LeaseGrantResponse given = await store.GrantAsync(0, 60);
        Assert.True(given.ID > 0);
        Assert.Equal(
            "FailedPrecondition: etcdserver: lease already exists", await StoreClient.RefusalAsync(() => store.GrantAsync(0x5001, 60)));
        Assert.Equal(
            "OutOfRange: etcdserver: too large lease TTL", await StoreClient.RefusalAsync(() => store.GrantAsync(0, 9_000_000_001)));
        LeaseGrantResponse longest = await store.GrantAsync(0, 9_000_000_000);
        Assert.Equal(9_000_000_000, longest.TTL);

        // Less than the shortest is the shortest: one and a half election timeouts.
        Assert.Equal(2, (await store.GrantAsync(0, 1)).TTL);
        Assert.Equal(2, (await store.GrantAsync(0, 0)).TTL);
        Assert.Equal(2, (await store.GrantAsync(0, -7)).TTL);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Revoked_it_takes_its_keys_along_in_one_revision(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 60)).ID;
        await store.PutAsync("b", "1", lease);
        await store.PutAsync("a", "1", lease);
        await store.PutAsync("c", "1", lease);
        await store.PutAsync("c", "2");
        long before = await store.RevisionAsync();
        using WatchCall watch = new(store);
        await watch.CreateAsync(new WatchCreateRequest { Key = StoreClient.Bytes(store.Prefix), RangeEnd = store.PrefixEnd });
        LeaseRevokeResponse revoked = await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = lease });
        Assert.Equal(before + 1, revoked.Header.Revision);
        WatchResponse response = await watch.NextAsync();
        Assert.Equal(["a", "b"], response.Events.Select(e => store.Short(e.Kv.Key)));
        Assert.All(response.Events, e => Assert.Equal(before + 1, e.Kv.ModRevision));
        Assert.Equal("c=2", store.Show(await store.RangeAsync(store.All())));
        Assert.Equal(NotFound, await StoreClient.RefusalAsync(store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = lease })));
        Assert.Equal(NotFound, await StoreClient.RefusalAsync(store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest())));
        long empty = (await store.GrantAsync(0, 60)).ID;
        revoked = await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = empty });
        Assert.Equal(before + 1, revoked.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Its_time_and_its_keys_can_be_asked(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 100)).ID;
        await store.PutAsync("b", "1", lease);
        await store.PutAsync("a", "1", lease);
        LeaseTimeToLiveResponse times = await TimesAsync(store, lease, keys: true);
        Assert.Equal((lease, 100), (times.ID, times.GrantedTTL));
        Assert.InRange(times.TTL, 60, 100);
        Assert.Equal(["a", "b"], times.Keys.Select(store.Short).Order(StringComparer.Ordinal));
        Assert.Empty((await TimesAsync(store, lease, keys: false)).Keys);
        LeaseTimeToLiveResponse none = await TimesAsync(store, 0x66, keys: true);
        Assert.Equal((0x66, -1, 0, 0), (none.ID, none.TTL, none.GrantedTTL, none.Keys.Count));
        await store.DeleteAsync("a");
        Assert.Equal(["b"], (await TimesAsync(store, lease, keys: true)).Keys.Select(store.Short));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task All_are_listed(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long[] ids = [(await store.GrantAsync(0, 60)).ID, (await store.GrantAsync(0, 60)).ID];
        LeaseLeasesResponse all = await store.Leases.LeaseLeasesAsync(new LeaseLeasesRequest(), cancellationToken: Cancellation);
        Assert.All(ids, id => Assert.Contains(all.Leases, l => l.ID == id));
        await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = ids[0] }, cancellationToken: Cancellation);
        all = await store.Leases.LeaseLeasesAsync(new LeaseLeasesRequest(), cancellationToken: Cancellation);
        Assert.DoesNotContain(all.Leases, l => l.ID == ids[0]);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task It_is_kept_alive_through_a_stream(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 60)).ID;
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> call =
            store.Leases.LeaseKeepAlive(cancellationToken: Cancellation);
        async Task<LeaseKeepAliveResponse> Ask(long id)
        {
            await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = id }, Cancellation);
            Assert.True(await call.ResponseStream.MoveNext(Cancellation));
            return call.ResponseStream.Current;
        }

        LeaseKeepAliveResponse kept = await Ask(lease);
        Assert.Equal((lease, 60, true), (kept.ID, kept.TTL, kept.Header.Revision > 0));
        LeaseKeepAliveResponse unknown = await Ask(0x77);
        Assert.Equal((0x77, 0), (unknown.ID, unknown.TTL));
        Assert.Equal(60, (await Ask(lease)).TTL);
        await call.RequestStream.CompleteAsync();
        Assert.False(await call.ResponseStream.MoveNext(Cancellation));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Not_kept_alive_it_ends_and_its_keys_with_it(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 1)).ID;
        using WatchCall watch = new(store);
        await watch.CreateAsync(new WatchCreateRequest { Key = StoreClient.Bytes(store.Prefix), RangeEnd = store.PrefixEnd });
        await store.PutAsync("a", "1", lease);
        await store.PutAsync("b", "1");
        List<Event> events = await watch.EventsAsync(3);
        Assert.Equal(Event.Types.EventType.Delete, events[2].Type);
        Assert.Equal("a", store.Short(events[2].Kv.Key));
        Assert.Equal("b=1", store.Show(await store.RangeAsync(store.All())));
        Assert.Equal(-1, (await TimesAsync(store, lease, keys: false)).TTL);
        Assert.Equal(NotFound, await StoreClient.RefusalAsync(() => store.PutAsync("c", "1", lease)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_key_can_move_from_one_to_another(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long one = (await store.GrantAsync(0, 60)).ID;
        long two = (await store.GrantAsync(0, 60)).ID;
        await store.PutAsync("a", "1", one);
        await store.PutAsync("a", "2", two);
        await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = one }, cancellationToken: Cancellation);
        Assert.Equal("a=2", store.Show(await store.GetAsync("a")));
        await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = two }, cancellationToken: Cancellation);
        Assert.Equal("", store.Show(await store.GetAsync("a")));
    }

    private static async Task<LeaseTimeToLiveResponse> TimesAsync(StoreClient store, long id, bool keys) =>
        await store.Leases.LeaseTimeToLiveAsync(new LeaseTimeToLiveRequest { ID = id, Keys = keys }, cancellationToken: Cancellation);
}

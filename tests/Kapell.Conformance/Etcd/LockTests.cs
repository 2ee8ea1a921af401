using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Protocol.Elections;
using Kapell.Etcd.Protocol.Locks;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>The services of locks and elections.</summary>
public sealed class LockTests(StorePair stores)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_lock_is_held_by_one_and_goes_to_the_next(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long one = (await store.GrantAsync(0, 60)).ID;
        long two = (await store.GrantAsync(0, 60)).ID;
        LockResponse first = await LockAsync(store, one);
        Assert.Equal($"lock/{one:x}", store.Short(first.Key));
        Assert.Equal(await store.RevisionAsync(), first.Header.Revision);
        Assert.Equal(first.Key, (await LockAsync(store, one)).Key);
        Task<LockResponse> waiting = LockAsync(store, two);
        await UntilAsync(store, keys: 2);
        Assert.False(waiting.IsCompleted);
        await store.Locks.UnlockAsync(new UnlockRequest { Key = first.Key }, cancellationToken: Cancellation);
        LockResponse second = await waiting;
        Assert.Equal($"lock/{two:x}", store.Short(second.Key));
        await store.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = two }, cancellationToken: Cancellation);
        Assert.Empty((await store.RangeAsync(store.All())).Kvs);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Who_gives_up_waiting_leaves_nothing_behind(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long one = (await store.GrantAsync(0, 60)).ID;
        long two = (await store.GrantAsync(0, 60)).ID;
        await LockAsync(store, one);
        using CancellationTokenSource leaving = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        Task<LockResponse> waiting = LockAsync(store, two, leaving.Token);
        await UntilAsync(store, keys: 2);
        await leaving.CancelAsync();
        Assert.Equal(StatusCode.Cancelled, (await Assert.ThrowsAsync<RpcException>(() => waiting)).StatusCode);
        await UntilAsync(store, keys: 1);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_lock_without_a_lease_gets_one_and_an_unknown_lease_is_refused(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        LockResponse held = await LockAsync(store, 0);
        KeyValue key = Assert.Single((await store.RangeAsync(store.All())).Kvs);
        Assert.Equal(held.Key, key.Key);
        LeaseTimeToLiveResponse times = await store.Leases.LeaseTimeToLiveAsync(
            new LeaseTimeToLiveRequest { ID = key.Lease }, cancellationToken: Cancellation);
        Assert.Equal(60, times.GrantedTTL);
        Assert.Equal("Unknown: etcdserver: requested lease not found", await StoreClient.RefusalAsync(() => LockAsync(store, 0x4711)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task An_election_has_one_leader_who_can_speak_and_resign(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        LeaderRequest ask = new() { Name = store.Key("vote") };
        Assert.Equal("Unknown: election: no leader", await StoreClient.RefusalAsync(store.Elections.LeaderAsync(ask, cancellationToken: Cancellation)));
        using AsyncServerStreamingCall<LeaderResponse> observed = store.Elections.Observe(ask, cancellationToken: Cancellation);
        CampaignResponse won = await CampaignAsync(store, "one");
        Assert.Equal((won.Header.Revision, store.Key("vote")), (won.Leader.Rev, won.Leader.Name));
        Task<CampaignResponse> next = CampaignAsync(store, "two");
        await UntilAsync(store, keys: 2);
        Assert.Equal("one", (await store.Elections.LeaderAsync(ask, cancellationToken: Cancellation)).Kv.Value.ToStringUtf8());
        await store.Elections.ProclaimAsync(
            new ProclaimRequest { Leader = won.Leader, Value = StoreClient.Bytes("one more") }, cancellationToken: Cancellation);
        Assert.False(next.IsCompleted);
        await store.Elections.ResignAsync(new ResignRequest { Leader = won.Leader }, cancellationToken: Cancellation);
        CampaignResponse second = await next;
        Assert.Equal("two", (await store.Elections.LeaderAsync(ask, cancellationToken: Cancellation)).Kv.Value.ToStringUtf8());
        Assert.NotEqual(won.Leader.Key, second.Leader.Key);
        List<string> seen = [];
        while (seen.Count == 0 || seen[^1] != "two")
        {
            Assert.True(await observed.ResponseStream.MoveNext(Cancellation));
            seen.Add(observed.ResponseStream.Current.Kv.Value.ToStringUtf8());
        }

        Assert.Equal(["one", "one more", "two"], seen);
    }

    // With upstream the first call takes the key of both away.
    [Fact]
    public async Task Who_gives_up_a_campaign_and_stands_again_with_its_lease_keeps_its_place()
    {
        StoreClient store = await stores.ClientAsync(StoreKind.Kapell);
        CampaignResponse won = await CampaignAsync(store, "one");
        CampaignRequest request = new() { Name = store.Key("vote"), Value = StoreClient.Bytes("two"), Lease = (await store.GrantAsync(0, 60)).ID };
        using CancellationTokenSource leaving = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        Task<CampaignResponse> first = CampaignAsync(store, request, leaving.Token);
        await UntilAsync(store, keys: 2);
        request.Value = StoreClient.Bytes("two again");
        Task<CampaignResponse> second = CampaignAsync(store, request, Cancellation);
        await UntilValueAsync(store, "two again");
        await leaving.CancelAsync();
        await Assert.ThrowsAsync<RpcException>(() => first);
        await store.Elections.ResignAsync(new ResignRequest { Leader = won.Leader }, cancellationToken: Cancellation);
        CampaignResponse leader = await second;
        LeaderResponse told = await store.Elections.LeaderAsync(new LeaderRequest { Name = store.Key("vote") }, cancellationToken: Cancellation);
        Assert.Equal((leader.Leader.Key, "two again"), (told.Kv.Key, told.Kv.Value.ToStringUtf8()));
    }

    [Fact]
    public async Task Who_gives_up_waiting_and_asks_again_with_its_lease_holds_what_it_is_told_it_holds()
    {
        StoreClient store = await stores.ClientAsync(StoreKind.Kapell);
        long two = (await store.GrantAsync(0, 60)).ID;
        for (int i = 0; i < 20; i++)
        {
            LockResponse before = await LockAsync(store, (await store.GrantAsync(0, 60)).ID);
            using CancellationTokenSource leaving = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
            Task<LockResponse> first = LockAsync(store, two, leaving.Token);
            await UntilAsync(store, keys: 2);
            await leaving.CancelAsync();
            Task<LockResponse> again = LockAsync(store, two);
            await store.Locks.UnlockAsync(new UnlockRequest { Key = before.Key }, cancellationToken: Cancellation);
            ByteString held = (await again).Key;
            await Assert.ThrowsAsync<RpcException>(() => first);
            Assert.Equal(held, Assert.Single((await store.RangeAsync(store.All())).Kvs).Key);
            await store.Locks.UnlockAsync(new UnlockRequest { Key = held }, cancellationToken: Cancellation);
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Who_does_not_lead_is_told_so(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        CampaignResponse won = await CampaignAsync(store, "one");
        LeaderKey other = won.Leader.Clone();
        other.Rev--;
        Assert.Equal("Unknown: election: not leader", await StoreClient.RefusalAsync(store.Elections.ProclaimAsync(
            new ProclaimRequest { Leader = other, Value = StoreClient.Bytes("x") }, cancellationToken: Cancellation)));
        Assert.Equal("Unknown: \"leader\" field must be provided", await StoreClient.RefusalAsync(
            store.Elections.ResignAsync(new ResignRequest(), cancellationToken: Cancellation)));
        Assert.Equal("Unknown: \"leader\" field must be provided", await StoreClient.RefusalAsync(
            store.Elections.ProclaimAsync(new ProclaimRequest(), cancellationToken: Cancellation)));
    }

    private static async Task<LockResponse> LockAsync(StoreClient store, long lease, CancellationToken? cancellation = null) =>
        await store.Locks.LockAsync(new LockRequest { Name = store.Key("lock"), Lease = lease }, cancellationToken: cancellation ?? Cancellation);

    private static async Task<CampaignResponse> CampaignAsync(StoreClient store, string value) => await store.Elections.CampaignAsync(
        new CampaignRequest { Name = store.Key("vote"), Value = StoreClient.Bytes(value), Lease = (await store.GrantAsync(0, 60)).ID },
        cancellationToken: Cancellation);

    private static async Task<CampaignResponse> CampaignAsync(StoreClient store, CampaignRequest request, CancellationToken cancellation) =>
        await store.Elections.CampaignAsync(request, cancellationToken: cancellation);

    private static async Task UntilValueAsync(StoreClient store, string value)
    {
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(20));
        while ((await store.RangeAsync(store.All())).Kvs.All(kv => kv.Value.ToStringUtf8() != value))
        {
            await pace.WaitForNextTickAsync(Cancellation);
        }
    }

    private static async Task UntilAsync(StoreClient store, int keys)
    {
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(20));
        while ((await store.RangeAsync(store.All())).Kvs.Count != keys)
        {
            await pace.WaitForNextTickAsync(Cancellation);
        }
    }
}

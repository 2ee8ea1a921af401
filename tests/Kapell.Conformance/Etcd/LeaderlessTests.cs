using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Members that have no leader, no vote, or no others any more.</summary>
public sealed class LeaderlessTests
{
    private const string NoLeader = "Unavailable: etcdserver: no leader";
    private const string NotForLearners = "Unavailable: etcdserver: rpc not supported for learner";

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Who_asks_for_a_leader_is_told_when_there_is_none(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        await cluster.PutAsync(0, "a", "1");
        int survivor = await cluster.LeaderAsync();
        Metadata wants = new() { { "hasleader", "true" } };
        RangeRequest read = new() { Key = ByteString.CopyFromUtf8("a"), Serializable = true };
        await cluster.Kv(survivor).RangeAsync(read, wants, cancellationToken: Cancellation);
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> asked = cluster.Watch(survivor).Watch(wants, cancellationToken: Cancellation);
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> plain = cluster.Watch(survivor).Watch(cancellationToken: Cancellation);
        await BeginAsync(asked);
        await BeginAsync(plain);
        cluster.Kill((survivor + 1) % 3);
        cluster.Kill((survivor + 2) % 3);
        Assert.Equal(NoLeader, await StoreClient.RefusalAsync(() => asked.ResponseStream.MoveNext(Cancellation)));
        Assert.Equal(NoLeader, await StoreClient.RefusalAsync(cluster.Kv(survivor).RangeAsync(read, wants, cancellationToken: Cancellation)));
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> late = cluster.Watch(survivor).Watch(wants, cancellationToken: Cancellation);
        Assert.Equal(NoLeader, await StoreClient.RefusalAsync(() => late.ResponseStream.MoveNext(Cancellation)));

        // Who did not ask is served what is there, and its watch goes on when there is a leader again.
        Assert.Equal("1", await cluster.GetAsync(survivor, "a", serializable: true));
        cluster.Start((survivor + 1) % 3);
        await cluster.UntilAsync("writes are taken again", async () => await cluster.PutAsync(survivor, "a", "2") > 0);
        Assert.True(await plain.ResponseStream.MoveNext(Cancellation));
        Assert.Equal("2", plain.ResponseStream.Current.Events[0].Kv.Value.ToStringUtf8());
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Who_asks_for_a_leader_is_served_while_the_next_is_elected(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        await cluster.PutAsync(0, "a", "1");
        int leader = await cluster.LeaderAsync();
        Metadata wants = new() { { "hasleader", "true" } };
        RangeRequest read = new() { Key = ByteString.CopyFromUtf8("a"), Serializable = true };
        Task? killed = null;

        // Less than an election timeout: a follower of etcd's believes in its leader still.
        Stopwatch since = Stopwatch.StartNew();
        for (int i = 0; since.Elapsed < TimeSpan.FromMilliseconds(700); i++)
        {
            int survivor = (leader + 1 + i % 2) % 3;
            await cluster.Kv(survivor).RangeAsync(read, wants, cancellationToken: Cancellation);
            using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = cluster.Watch(survivor).Watch(wants, cancellationToken: Cancellation);
            await BeginAsync(watch);
            if (i == 10)
            {
                killed = Task.Run(() => cluster.Kill(leader), Cancellation);
            }
        }

        await killed!;
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Nobody_is_served_by_a_member_that_has_not_joined_yet(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        await cluster.PutAsync(0, "a", "1");
        int alone = (await cluster.LeaderAsync() + 1) % 3;
        for (int i = 0; i < 3; i++)
        {
            cluster.Kill(i);
        }

        // What it would say of itself is older than what it has said, or nothing at all.
        cluster.Wipe(alone);
        cluster.Start(alone);
        string refusal = "";
        await cluster.UntilAsync("its port is open", async () => !(refusal = await StoreClient.RefusalAsync(cluster.Maintenance(alone).StatusAsync(
            new StatusRequest(), deadline: DateTime.UtcNow.AddSeconds(7), cancellationToken: Cancellation))).StartsWith("Unavailable: ", StringComparison.Ordinal));
        Assert.StartsWith("DeadlineExceeded", refusal, StringComparison.Ordinal);
        if (kind == StoreKind.Upstream)
        {
            return;
        }

        // Its pages tell how it is all the same.
        using HttpClient web = new();
        HttpResponseMessage health = await web.GetAsync(new Uri(cluster.Url(alone) + "/health"), Cancellation);
        Assert.Contains("\"health\":\"false\"", await health.Content.ReadAsStringAsync(Cancellation), StringComparison.Ordinal);
        cluster.Kill(alone);

        // One that was a member before gives what it has to whoever wants no more, after some moments.
        int second = (alone + 1) % 3;
        cluster.Start(second);
        await cluster.UntilAsync("it serves alone", async () => await cluster.GetAsync(second, "a", serializable: true) == "1");
        Assert.Contains("no leader after 5 s: serving what this member had", cluster.Said(second), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_learner_serves_its_status_and_what_it_has_and_nothing_else(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 1);
        await cluster.PutAsync(0, "a", "1");
        int learner = cluster.Add();
        MemberAddRequest add = new() { PeerURLs = { cluster.PeerUrl(learner) }, IsLearner = true };
        await cluster.UntilAsync("the learner is taken in", async () =>
            (await cluster.Members(0).MemberAddAsync(add, cancellationToken: Cancellation)).Member is not null);
        cluster.Start(learner, "existing");
        await cluster.UntilAsync("it has the content", async () => await cluster.GetAsync(learner, "a", serializable: true) == "1");
        Assert.True((await cluster.StatusAsync(learner)).IsLearner);
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(() => cluster.GetAsync(learner, "a")));
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(() => cluster.PutAsync(learner, "a", "2")));
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(cluster.Members(learner).MemberListAsync(new MemberListRequest())));
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(cluster.Leases(learner).LeaseGrantAsync(new LeaseGrantRequest { TTL = 9 })));
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(cluster.Maintenance(learner).AlarmAsync(new AlarmRequest())));
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = cluster.Watch(learner).Watch(cancellationToken: Cancellation);
        Assert.Equal(NotForLearners, await StoreClient.RefusalAsync(() => watch.ResponseStream.MoveNext(Cancellation)));
        if (kind == StoreKind.Upstream)
        {
            // The installed one may be of before snapshots of learners.
            return;
        }

        // Clients of 3.6 and later ask another member when they are told the code that etcd has had since.
        Metadata later = new() { { "client-api-version", "3.6.1" } };
        Assert.Equal(
            "FailedPrecondition: etcdserver: rpc not supported for learner",
            await StoreClient.RefusalAsync(cluster.Leases(learner).LeaseGrantAsync(new LeaseGrantRequest { TTL = 9 }, later)));
        Assert.Equal(
            "FailedPrecondition: etcdserver: rpc not supported for learner",
            await StoreClient.RefusalAsync(cluster.Kv(learner).RangeAsync(new RangeRequest { Key = ByteString.CopyFromUtf8("a") }, later)));
        using AsyncServerStreamingCall<SnapshotResponse> snapshot = cluster.Maintenance(learner).Snapshot(new SnapshotRequest(), cancellationToken: Cancellation);
        Assert.True(await snapshot.ResponseStream.MoveNext(Cancellation));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_last_member_of_a_lost_majority_can_be_made_the_only_one(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        for (int i = 0; i < 20; i++)
        {
            await cluster.PutAsync(i % 3, $"k/{i}", $"{i}");
        }

        await cluster.ConvergesAsync();
        int last = (await cluster.LeaderAsync() + 1) % 3;
        ulong id = (await cluster.StatusAsync(last)).Header.MemberId;
        ulong clusterId = (await cluster.StatusAsync(last)).Header.ClusterId;
        for (int i = 0; i < 3; i++)
        {
            cluster.Kill(i);
        }

        cluster.Start(last, "new", "--force-new-cluster");
        await cluster.UntilAsync("it writes alone", async () => await cluster.PutAsync(last, "after", "1") > 0);
        Member alone = Assert.Single((await cluster.Members(last).MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation)).Members);
        Assert.Equal((id, clusterId), (alone.ID, (await cluster.StatusAsync(last)).Header.ClusterId));

        // Etcd drops what this member did not know to be committed yet.
        string newest = kind == StoreKind.Kapell ? "19" : "0";
        Assert.Equal(newest, await cluster.GetAsync(last, "k/" + newest));

        // Once more, with and without the flag: it is alone already.
        foreach (string[] more in (string[][])[["--force-new-cluster"], []])
        {
            cluster.Kill(last);
            cluster.Start(last, "new", more);
            await cluster.UntilAsync("it is back", async () => await cluster.GetAsync(last, "after") == "1");
        }

        // It grows again.
        int second = cluster.Add();
        await cluster.UntilAsync("another one is taken in", async () => (await cluster.Members(last).MemberAddAsync(
            new MemberAddRequest { PeerURLs = { cluster.PeerUrl(second) } }, cancellationToken: Cancellation)).Members.Count == 2);
        cluster.StartJoining(second, last);
        await cluster.UntilAsync("it has everything", async () => await cluster.GetAsync(second, "k/" + newest) == newest);
    }

    [Fact]
    public async Task A_downgrade_is_refused_in_the_words_of_the_protocol()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 1);
        Maintenance.MaintenanceClient maintenance = cluster.Maintenance(0);
        DowngradeRequest request = new() { Action = DowngradeRequest.Types.DowngradeAction.Validate, Version = "3.5.0" };
        Assert.Equal("InvalidArgument: etcdserver: invalid downgrade target version", await StoreClient.RefusalAsync(maintenance.DowngradeAsync(request)));
        request.Version = "three";
        Assert.Equal("InvalidArgument: etcdserver: wrong downgrade target version format", await StoreClient.RefusalAsync(maintenance.DowngradeAsync(request)));
        request.Action = DowngradeRequest.Types.DowngradeAction.Cancel;
        Assert.Equal("FailedPrecondition: etcdserver: no inflight downgrade job", await StoreClient.RefusalAsync(maintenance.DowngradeAsync(request)));
    }

    private static async Task BeginAsync(AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch)
    {
        await watch.RequestStream.WriteAsync(new WatchRequest { CreateRequest = new WatchCreateRequest { Key = ByteString.CopyFromUtf8("a") } }, Cancellation);
        Assert.True(await watch.ResponseStream.MoveNext(Cancellation) && watch.ResponseStream.Current.Created);
    }
}

using System.Diagnostics;
using System.Globalization;
using System.Net;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Three members: what a cluster promises when members come, go and die.</summary>
public sealed class ClusterTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_leader_may_die_and_nothing_acknowledged_is_lost(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        for (int i = 0; i < 3; i++)
        {
            await cluster.PutAsync(i, $"from/{i}", "1");
        }

        Assert.Equal("1", await cluster.GetAsync(0, "from/2"));
        int leader = await cluster.LeaderAsync();
        int other = (leader + 1) % 3;
        long lease = (await cluster.Leases(other).LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 }, cancellationToken: Cancellation)).ID;
        using AsyncDuplexStreamingCall<WatchRequest, WatchResponse> watch = cluster.Watch(other).Watch(cancellationToken: Cancellation);
        await watch.RequestStream.WriteAsync(
            new WatchRequest { CreateRequest = new WatchCreateRequest { Key = ByteString.CopyFromUtf8("k/"), RangeEnd = ByteString.CopyFromUtf8("k0") } }, Cancellation);
        Assert.True(await watch.ResponseStream.MoveNext(Cancellation) && watch.ResponseStream.Current.Created);
        List<string> acknowledged = [];
        for (int i = 0; acknowledged.Count < 60; i++)
        {
            if (i == 20)
            {
                cluster.Kill(leader);
            }

            try
            {
                await cluster.PutAsync(other, $"k/{i:d4}", "v");
                acknowledged.Add($"k/{i:d4}");
            }
            catch (RpcException)
            {
                // Not acknowledged: it may be there or not.
                continue;
            }
        }

        // The watch of a surviving member goes on, in order, and misses none of them.
        HashSet<string> missing = [.. acknowledged];
        long last = 0;
        while (missing.Count > 0)
        {
            Assert.True(await watch.ResponseStream.MoveNext(Cancellation));
            foreach (Event change in watch.ResponseStream.Current.Events)
            {
                Assert.True(change.Kv.ModRevision > last);
                last = change.Kv.ModRevision;
                missing.Remove(change.Kv.Key.ToStringUtf8());
            }
        }

        cluster.Start(leader);
        await cluster.ConvergesAsync();
        foreach (string key in acknowledged)
        {
            Assert.Equal("v", await cluster.GetAsync(leader, key));
        }

        // Leases live through the change of leaders, and any member tells of them.
        LeaseTimeToLiveResponse life = await cluster.Leases(leader).LeaseTimeToLiveAsync(new LeaseTimeToLiveRequest { ID = lease }, cancellationToken: Cancellation);
        Assert.InRange(life.TTL, 1, 60);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Leases_are_kept_alive_through_any_member(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        long[] leases = new long[40];
        for (int i = 0; i < leases.Length; i++)
        {
            leases[i] = (await cluster.Leases(i % 3).LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 + i }, cancellationToken: Cancellation)).ID;
        }

        int leader = await cluster.LeaderAsync();
        for (int node = 0; node < 3; node++)
        {
            int here = node;
            ulong self = (await cluster.StatusAsync(node)).Header.MemberId;

            // All at once, and one that is not there among them.
            long[] asked = [.. leases, 0x77];
            LeaseKeepAliveResponse[] kept = await Task.WhenAll(asked.Select(id => KeepAliveAsync(cluster, here, id)));
            Assert.Equal(asked.Zip([.. leases.Select(static (_, i) => 60L + i), 0L]), kept.Select(static k => (k.ID, k.TTL)));
            Assert.All(kept, k => Assert.Equal((self, true), (k.Header.MemberId, k.Header.Revision > 0)));
        }

        // Whoever leads next renews them too.
        cluster.Kill(leader);
        int other = (leader + 1) % 3;
        long begun = Environment.TickCount64;
        while (true)
        {
            try
            {
                Assert.Equal(60, (await KeepAliveAsync(cluster, other, leases[0])).TTL);
                break;
            }
            catch (RpcException) when (Environment.TickCount64 - begun < 30_000)
            {
                continue; // Nobody leads yet.
            }
        }
    }

    /// <summary>What was under way to it, and what came behind that, is asked of the next leader, and not when some bound of time is over.</summary>
    [Fact]
    public async Task A_leader_that_stands_still_does_not_hold_up_renewals()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3);
        int leader = await cluster.LeaderAsync();
        int other = (leader + 1) % 3;
        long lease = (await cluster.Leases(other).LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 }, cancellationToken: Cancellation)).ID;
        Assert.Equal(60, (await KeepAliveAsync(cluster, other, lease)).TTL);
        cluster.Freeze(leader);
        Stopwatch watch = Stopwatch.StartNew();
        LeaseKeepAliveResponse[] kept = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => KeepAliveAsync(cluster, other, lease)));
        Assert.All(kept, static k => Assert.Equal(60, k.TTL));
        Assert.InRange(watch.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(4.5));
    }

    /// <summary>Those of builds that know no such messages on the streams, while a cluster is brought to this one member by member.</summary>
    [Fact]
    public async Task Members_of_older_builds_ask_for_renewals_by_requests_of_HTTP()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3);
        int leader = await cluster.LeaderAsync();
        int other = (leader + 1) % 3;
        long lease = (await cluster.Leases(other).LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 }, cancellationToken: Cancellation)).ID;
        ulong from = (await cluster.StatusAsync((leader + 2) % 3)).Header.MemberId;
        LeasesRenewal two = new() { Ids = { lease, 0x77 } };
        (HttpStatusCode code, byte[] body) = await AskPeerAsync(cluster, leader, "/kapell/leases", two, from);
        Assert.Equal(HttpStatusCode.OK, code);
        Assert.Equal([60, 0], LeasesRenewed.Parser.ParseFrom(body).Ttls);
        (code, body) = await AskPeerAsync(cluster, leader, "/leases", new LeaseKeepAliveRequest { ID = lease }, from);
        Assert.Equal((HttpStatusCode.OK, 60), (code, LeaseKeepAliveResponse.Parser.ParseFrom(body).TTL));

        // Who does not lead, and who is no member.
        (code, body) = await AskPeerAsync(cluster, other, "/kapell/leases", two, from);
        Assert.Equal((HttpStatusCode.Conflict, "etcdserver: not leader"), (code, System.Text.Encoding.UTF8.GetString(body)));
        (code, _) = await AskPeerAsync(cluster, leader, "/kapell/leases", two, from, clusterMore: 1);
        Assert.Equal(HttpStatusCode.PreconditionFailed, code);
    }

    private static async Task<(HttpStatusCode Code, byte[] Body)> AskPeerAsync(
        StoreCluster cluster, int node, string path, IMessage request, ulong from, ulong clusterMore = 0)
    {
        ResponseHeader self = (await cluster.StatusAsync(node)).Header;
        using HttpClient client = new();
        using ByteArrayContent content = new(request.ToByteArray());
        content.Headers.Add("X-Etcd-Cluster-ID", (self.ClusterId + clusterMore).ToString("x", CultureInfo.InvariantCulture));
        content.Headers.Add("X-Server-From", from.ToString("x", CultureInfo.InvariantCulture));
        content.Headers.Add("X-Raft-To", self.MemberId.ToString("x", CultureInfo.InvariantCulture));
        using HttpResponseMessage response = await client.PostAsync(cluster.PeerUrl(node) + path, content, Cancellation);
        return (response.StatusCode, await response.Content.ReadAsByteArrayAsync(Cancellation));
    }

    private static async Task<LeaseKeepAliveResponse> KeepAliveAsync(StoreCluster cluster, int node, long id)
    {
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> call = cluster.Leases(node).LeaseKeepAlive(cancellationToken: Cancellation);
        await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = id }, Cancellation);
        Assert.True(await call.ResponseStream.MoveNext(Cancellation));
        return call.ResponseStream.Current;
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_minority_serves_only_what_it_has(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        await cluster.PutAsync(0, "a", "1");
        await cluster.ConvergesAsync();
        int leader = await cluster.LeaderAsync();
        int survivor = (leader + 1) % 3;
        cluster.Kill(leader);
        cluster.Kill((leader + 2) % 3);
        Assert.Equal("1", await cluster.GetAsync(survivor, "a", serializable: true));
        RpcException write = await Assert.ThrowsAsync<RpcException>(() => cluster.PutAsync(survivor, "a", "2"));
        RpcException read = await Assert.ThrowsAsync<RpcException>(() => cluster.GetAsync(survivor, "a"));
        Assert.Equal((StatusCode.Unavailable, StatusCode.Unavailable), (write.StatusCode, read.StatusCode));
        cluster.Start(leader);
        cluster.Start((leader + 2) % 3);
        await cluster.UntilAsync("writes are taken again", async () =>
        {
            await cluster.PutAsync(survivor, "b", "3");
            return true;
        });
        await cluster.ConvergesAsync();
        Assert.Equal("3", await cluster.GetAsync(leader, "b"));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Members_come_as_learners_and_go_for_good(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 3);
        await cluster.PutAsync(0, "a", "1");
        int leader = await cluster.LeaderAsync();
        Cluster.ClusterClient members = cluster.Members(leader);
        int fourth = cluster.Add();
        MemberAddRequest add = new() { PeerURLs = { cluster.PeerUrl(fourth) }, IsLearner = true };

        // Changes are refused for some seconds after the start, until a member has seen its peers for long enough.
        Assert.Equal("Unavailable: etcdserver: unhealthy cluster", await StoreClient.RefusalAsync(members.MemberAddAsync(add)));
        MemberAddResponse added = new();
        await cluster.UntilAsync("the learner is taken in", async () =>
        {
            added = await members.MemberAddAsync(add, cancellationToken: Cancellation);
            return true;
        });
        ulong id = added.Member.ID;
        Assert.Equal(4, added.Members.Count);
        // Upstream makes the number of addresses and second: the same again within a second is the same member.
        string again = await StoreClient.RefusalAsync(members.MemberAddAsync(add));
        Assert.Contains(again, (string[])["FailedPrecondition: etcdserver: Peer URLs already exists", "FailedPrecondition: etcdserver: member ID already exist"]);
        MemberAddRequest second = new() { PeerURLs = { "http://127.0.0.1:1" }, IsLearner = true };
        Assert.Equal("FailedPrecondition: etcdserver: too many learner members in cluster", await StoreClient.RefusalAsync(members.MemberAddAsync(second)));
        Assert.Equal(
            "FailedPrecondition: etcdserver: can only promote a learner member which is in sync with leader",
            await StoreClient.RefusalAsync(members.MemberPromoteAsync(new MemberPromoteRequest { ID = id })));
        Assert.Equal("NotFound: etcdserver: member not found", await StoreClient.RefusalAsync(members.MemberRemoveAsync(new MemberRemoveRequest { ID = 12345 })));
        cluster.Start(fourth, "existing");
        await cluster.UntilAsync("the learner is promoted", async () =>
        {
            await members.MemberPromoteAsync(new MemberPromoteRequest { ID = id }, cancellationToken: Cancellation);
            return true;
        });
        Assert.Equal(
            "FailedPrecondition: etcdserver: can only promote a learner member",
            await StoreClient.RefusalAsync(members.MemberPromoteAsync(new MemberPromoteRequest { ID = id })));

        // It may vote before its client port is open.
        await cluster.UntilAsync("the new member serves", async () => await cluster.GetAsync(fourth, "a") == "1");
        await cluster.Maintenance(leader).MoveLeaderAsync(new MoveLeaderRequest { TargetID = id }, cancellationToken: Cancellation);
        Assert.Equal(fourth, await cluster.LeaderAsync());
        Assert.Equal(
            "FailedPrecondition: etcdserver: not leader",
            await StoreClient.RefusalAsync(cluster.Maintenance(leader).MoveLeaderAsync(new MoveLeaderRequest { TargetID = id })));
        await cluster.Members((leader + 1) % 3).MemberRemoveAsync(new MemberRemoveRequest { ID = id }, cancellationToken: Cancellation);
        await cluster.ExitAsync(fourth);
        cluster.Kill(fourth);
        await cluster.UntilAsync("the others go on", async () =>
        {
            await cluster.PutAsync(leader, "b", "2");
            return true;
        });
        await cluster.ConvergesAsync();
    }

    [Fact]
    public async Task A_learner_that_keeps_up_votes_by_itself_when_asked_to()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--auto-promote-learners", "--auto-promote-after", "2s");
        await cluster.PutAsync(0, "a", "1");
        int leader = await cluster.LeaderAsync();
        int fourth = cluster.Add();
        MemberAddRequest add = new() { PeerURLs = { cluster.PeerUrl(fourth) }, IsLearner = true };
        ulong id = 0;
        await cluster.UntilAsync("the learner is taken in", async () =>
            (id = (await cluster.Members(leader).MemberAddAsync(add, cancellationToken: Cancellation)).Member.ID) > 0);
        cluster.Start(fourth, "existing");
        await cluster.UntilAsync("the learner votes", async () =>
            (await cluster.Members(leader).MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation)).Members.Any(m => m.ID == id && !m.IsLearner));
        Assert.Contains("has caught up and becomes a voter", cluster.Said(await cluster.LeaderAsync()), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_dead_voter_is_replaced_by_one_command_that_can_be_interrupted()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--min-voters", "3");
        await cluster.PutAsync(0, "a", "1");
        int dead = (await cluster.LeaderAsync() + 1) % 3;
        int alive = (dead + 1) % 3;
        string[] replace =
        [
            "member", "replace", $"n{dead}", "--endpoints", $"{cluster.Url(dead)},{cluster.Url(alive)},{cluster.Url((dead + 2) % 3)}", "--peer-urls",
        ];
        int fresh = cluster.Add();
        (int code, string said) = await ProgramRun.CompleteAsync(Programs.Kapell, [.. replace, cluster.PeerUrl(fresh)], "", Cancellation);
        Assert.Equal(1, code);
        Assert.Contains("it is not dead", said, StringComparison.Ordinal);
        ulong deadId = (await cluster.StatusAsync(dead)).Header.MemberId;
        cluster.Kill(dead);
        await cluster.LeaderAsync();
        (code, said) = await ProgramRun.CompleteAsync(Programs.Kapell, [.. replace, cluster.PeerUrl(fresh), "--min-voters", "4"], "", Cancellation);
        Assert.Equal(1, code);
        Assert.Contains("3 voting members, fewer than --min-voters=4", said, StringComparison.Ordinal);

        // Without a word about whose place it takes, a learner comes only when the others could do without it, as in etcd.
        MemberAddRequest learner = new() { PeerURLs = { "http://127.0.0.1:1" }, IsLearner = true };
        Assert.Equal("Unavailable: etcdserver: unhealthy cluster", await StoreClient.RefusalAsync(cluster.Members(alive).MemberAddAsync(learner)));

        // Interrupted while it waits for the new member: nothing is lost by that.
        (code, said) = await ProgramRun.CompleteAsync(Programs.Kapell, [.. replace, cluster.PeerUrl(fresh), "--timeout", "4s"], "", Cancellation);
        Assert.Equal(1, code);
        Assert.Contains("the same command takes it up again", said, StringComparison.Ordinal);
        await cluster.UntilAsync("the others go on", async () => await cluster.PutAsync(alive, "b", "2") > 0);

        // The members themselves refuse as well.
        string refused = await StoreClient.RefusalAsync(cluster.Members(alive).MemberRemoveAsync(new MemberRemoveRequest { ID = deadId }));
        Assert.Contains("fewer than --min-voters=3", refused, StringComparison.Ordinal);
        cluster.Start(fresh, "existing");
        (code, said) = await ProgramRun.CompleteAsync(Programs.Kapell, [.. replace, cluster.PeerUrl(fresh)], "", Cancellation);
        Assert.True(code == 0, said);
        MemberListResponse members = await cluster.Members(alive).MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation);
        Assert.Equal(3, members.Members.Count(static m => !m.IsLearner));
        Assert.DoesNotContain(members.Members, m => m.ID == deadId);
        await cluster.ConvergesAsync();
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Whom_a_change_is_about_is_looked_for_before_its_addresses(StoreKind kind)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(kind, Cancellation));
        const string unknown = "NotFound: etcdserver: member not found";
        Assert.Equal(unknown, await StoreClient.RefusalAsync(store.Cluster.MemberUpdateAsync(new MemberUpdateRequest { ID = 1 })));
        Assert.Equal(unknown, await StoreClient.RefusalAsync(store.Cluster.MemberUpdateAsync(new MemberUpdateRequest { ID = 1, PeerURLs = { "nonsense" } })));
        Assert.Equal(unknown, await StoreClient.RefusalAsync(store.Cluster.MemberRemoveAsync(new MemberRemoveRequest { ID = 1 })));
        Assert.Equal(unknown, await StoreClient.RefusalAsync(store.Cluster.MemberPromoteAsync(new MemberPromoteRequest { ID = 1 })));
        Assert.Equal("InvalidArgument: etcdserver: given member URLs are invalid", await StoreClient.RefusalAsync(store.Cluster.MemberAddAsync(new MemberAddRequest())));
    }

    [Fact]
    public async Task A_directory_of_another_cluster_is_not_run_in_silence()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 1, "--initial-cluster-token", "one");
        await cluster.PutAsync(0, "a", "1");
        cluster.Kill(0);
        cluster.Start(0, "new", "--initial-cluster-token", "another");
        Assert.NotEqual(0, await cluster.ExitAsync(0));
        Assert.Contains("founded with --initial-cluster-token=one, not another", cluster.Said(0), StringComparison.Ordinal);
        cluster.Kill(0);
        cluster.Start(0);
        await cluster.UntilAsync("with its own it runs", async () => await cluster.GetAsync(0, "a") == "1");
    }

    [Fact]
    public async Task A_member_far_behind_is_sent_a_checkpoint()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--snapshot-count", "100", "--experimental-snapshot-catchup-entries", "50");
        int leader = await cluster.LeaderAsync();
        int behind = (leader + 1) % 3;
        cluster.Kill(behind);

        // More than are kept in memory.
        await Parallel.ForEachAsync(Enumerable.Range(0, 2000), new ParallelOptions { MaxDegreeOfParallelism = 64, CancellationToken = Cancellation }, async (i, _) =>
            await cluster.PutAsync(leader, $"k/{i % 500}", $"{i}"));
        cluster.Start(behind);
        await cluster.UntilAsync("the checkpoint is installed", () =>
            Task.FromResult(cluster.Said(behind).Contains("replaced the store", StringComparison.Ordinal)));
        await cluster.ConvergesAsync();
        cluster.Kill(behind);
        cluster.Start(behind);
        await cluster.UntilAsync("it is back", async () => await cluster.GetAsync(behind, "k/1") is not null);
        await cluster.ConvergesAsync();
    }

    [Fact]
    public async Task A_founder_that_lost_its_data_does_not_vote_again()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3);
        await cluster.PutAsync(0, "a", "1");
        int leader = await cluster.LeaderAsync();
        int lost = (leader + 1) % 3;
        cluster.Kill(lost);
        cluster.Wipe(lost);
        cluster.Start(lost);
        Assert.NotEqual(0, await cluster.ExitAsync(lost));
        Assert.Contains("has already been bootstrapped", cluster.Said(lost), StringComparison.Ordinal);
        await cluster.PutAsync(leader, "a", "2");
    }
}

using System.Net;
using System.Text.Json;
using Kapell.Etcd.Protocol;
using Xunit;
using Action = Kapell.Etcd.Protocol.AlarmRequest.Types.AlarmAction;

namespace Kapell.Conformance.Etcd;

/// <summary>Cluster, Maintenance, and what is served over plain HTTP.</summary>
public sealed class MaintenanceTests(StorePair stores)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_member_has_an_address_with_a_port_and_nothing_behind_it(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        foreach (string url in (string[])["http://127.0.0.1", "http://[::1]", "http://127.0.0.1:1/", "http://127.0.0.1:1/a", "127.0.0.1:1", "ftp://127.0.0.1:1", ""])
        {
            MemberAddRequest add = new() { PeerURLs = { url } };
            string refusal = await StoreClient.RefusalAsync(store.Cluster.MemberAddAsync(add, cancellationToken: Cancellation));
            Assert.Equal($"{url} InvalidArgument: etcdserver: given member URLs are invalid", $"{url} {refusal}");
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_members_are_listed_with_the_numbers_derived_from_the_same_settings(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        MemberListResponse list = await store.Cluster.MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation);
        Member member = Assert.Single(list.Members);
        Assert.Equal("default", member.Name);
        Assert.Equal(["http://127.0.0.1:2380"], member.PeerURLs);
        Assert.Equal([store.Process.Url], member.ClientURLs);
        Assert.False(member.IsLearner);
        Assert.Equal(member.ID, list.Header.MemberId);

        // SHA-1 of the peer address and the token: what etcd has derived since its first version.
        Assert.Equal((13195394291058371180UL, 2037210783374497686UL), (member.ID, list.Header.ClusterId));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_status_tells_leader_term_index_and_sizes(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        StatusResponse before = await store.StatusAsync();
        await store.PutAsync("a", "1");
        StatusResponse after = await store.StatusAsync();
        Assert.Equal(after.Header.MemberId, after.Leader);
        Assert.True(after.RaftTerm >= 2);
        Assert.Equal(before.RaftIndex + 1, after.RaftIndex);
        Assert.Equal(after.RaftIndex, after.RaftAppliedIndex);
        Assert.Equal(before.Header.Revision + 1, after.Header.Revision);
        Assert.True(after.DbSize >= after.DbSizeInUse && after.DbSizeInUse > 0, after.ToString());
        Assert.Empty(after.Errors);
        Assert.False(after.IsLearner);
        Assert.Matches(@"^3\.\d+\.\d+$", after.Version);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_hash_changes_with_the_content_only(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        HashKVResponse one = await HashAsync(store, 0);
        HashKVResponse two = await HashAsync(store, 0);
        Assert.Equal(one.Hash, two.Hash);
        long revision = (await store.PutAsync("a", "2")).Header.Revision;
        HashKVResponse now = await HashAsync(store, 0);
        Assert.NotEqual(one.Hash, now.Hash);
        Assert.Equal(one.Hash, (await HashAsync(store, revision - 1)).Hash);
        Assert.Equal(now.Hash, (await HashAsync(store, revision)).Hash);
        Assert.Equal(revision, now.Header.Revision);
        Assert.Equal(
            "OutOfRange: etcdserver: mvcc: required revision is a future revision",
            await StoreClient.RefusalAsync(() => HashAsync(store, revision + 1)));
        await store.CompactAsync(revision, physical: true);
        Assert.Equal(
            "OutOfRange: etcdserver: mvcc: required revision has been compacted",
            await StoreClient.RefusalAsync(() => HashAsync(store, revision - 1)));
        long later = (await store.PutAsync("a", "3")).Header.Revision;
        Assert.Equal(revision, (await HashAsync(store, later)).CompactRevision);
        HashResponse whole = await store.Maintenance.HashAsync(new HashRequest(), cancellationToken: Cancellation);
        Assert.Equal(later, whole.Header.Revision);
    }

    /// <summary>Etcd since 3.6 remembers the hashes of its compactions, also when nobody asked before.</summary>
    [Fact]
    public async Task A_hash_that_was_taken_is_remembered_when_its_revision_has_been_compacted()
    {
        StoreClient store = await stores.ClientAsync(StoreKind.Kapell);
        await store.PutAsync("h", "1");
        await store.PutAsync("h", "2");
        long revision = (await store.Kv.DeleteRangeAsync(
            new DeleteRangeRequest { Key = store.Key("h") }, cancellationToken: Cancellation)).Header.Revision;
        HashKVResponse before = await HashAsync(store, revision);
        await store.CompactAsync(revision, physical: true);
        await store.PutAsync("h", "3");
        HashKVResponse after = await HashAsync(store, revision);
        Assert.Equal((before.Hash, before.CompactRevision, revision), (after.Hash, after.CompactRevision, after.HashRevision));
        Assert.Equal(revision + 1, after.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Defragmenting_changes_nothing_that_can_be_read(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        await store.Maintenance.DefragmentAsync(new DefragmentRequest(), cancellationToken: Cancellation);
        Assert.Equal("a=1", store.Show(await store.GetAsync("a")));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Leadership_cannot_go_to_whom_there_is_not(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        Assert.Equal(
            "FailedPrecondition: etcdserver: bad leader transferee",
            await StoreClient.RefusalAsync(store.Maintenance.MoveLeaderAsync(new MoveLeaderRequest { TargetID = 5 }, cancellationToken: Cancellation)));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Health_and_version_are_served_over_http(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        (HttpStatusCode status, string body) = await store.HttpGetAsync("/health");
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal("true", JsonDocument.Parse(body).RootElement.GetProperty("health").GetString());
        (status, body) = await store.HttpGetAsync("/version");
        Assert.Equal(HttpStatusCode.OK, status);
        JsonElement version = JsonDocument.Parse(body).RootElement;
        Assert.Equal((await store.StatusAsync()).Version, version.GetProperty("etcdserver").GetString());
        Assert.Matches(@"^3\.\d+\.0$", version.GetProperty("etcdcluster").GetString());
        using HttpRequestMessage post = new(HttpMethod.Post, "/health");
        using HttpResponseMessage response = await store.Process.Http.SendAsync(post, Cancellation);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, response.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await store.HttpGetAsync("/nothing/here")).Status);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Metrics_have_the_names_that_dashboards_ask_for(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        (HttpStatusCode status, string body) = await store.HttpGetAsync("/metrics");
        Assert.Equal(HttpStatusCode.OK, status);
        HashSet<string> families = [.. body.Split('\n').Where(l => l.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(l => l[7..])];
        string[] expected =
        [
            "etcd_server_has_leader gauge", "etcd_server_is_leader gauge", "etcd_server_leader_changes_seen_total counter",
            "etcd_server_proposals_committed_total gauge", "etcd_server_proposals_applied_total gauge", "etcd_server_proposals_pending gauge",
            "etcd_server_proposals_failed_total counter", "etcd_server_quota_backend_bytes gauge", "etcd_server_health_success counter",
            "etcd_server_health_failures counter", "etcd_server_version gauge", "etcd_server_id gauge", "etcd_server_is_learner gauge",
            "etcd_server_slow_apply_total counter",
            "etcd_server_slow_read_indexes_total counter", "etcd_server_read_indexes_failed_total counter",
            "etcd_disk_wal_fsync_duration_seconds histogram",
            "etcd_mvcc_db_total_size_in_bytes gauge", "etcd_mvcc_db_total_size_in_use_in_bytes gauge", "etcd_mvcc_put_total counter",
            "etcd_mvcc_delete_total counter", "etcd_mvcc_range_total counter", "etcd_mvcc_txn_total counter",
            "etcd_debugging_mvcc_keys_total gauge", "etcd_debugging_mvcc_watcher_total gauge", "etcd_debugging_mvcc_watch_stream_total gauge",
            "etcd_debugging_mvcc_slow_watcher_total gauge", "etcd_debugging_mvcc_events_total counter",
            "etcd_debugging_mvcc_compact_revision gauge", "etcd_debugging_mvcc_current_revision gauge",
            "etcd_debugging_lease_granted_total counter", "etcd_debugging_lease_revoked_total counter",
            "etcd_debugging_lease_renewed_total counter", "etcd_network_client_grpc_sent_bytes_total counter",
            "etcd_network_client_grpc_received_bytes_total counter", "grpc_server_started_total counter", "grpc_server_handled_total counter",
            "process_resident_memory_bytes gauge", "process_cpu_seconds_total counter", "process_start_time_seconds gauge",
            "process_open_fds gauge", "process_max_fds gauge",
        ];
        Assert.Empty(expected.Where(e => !families.Contains(e)));
    }

    private static async Task<HashKVResponse> HashAsync(StoreClient store, long revision) =>
        await store.Maintenance.HashKVAsync(new HashKVRequest { Revision = revision }, cancellationToken: Cancellation);
}

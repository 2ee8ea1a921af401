using System.Globalization;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>What monitoring reads: upstream's metrics by their names and kinds, and that they count.</summary>
public sealed class MetricsTests
{
    // Of Go's runtime and libraries, of its database's inner workings, of the v2 store, of the proxy that every member of 3.4 counts along
    // with itself, and names of before 3.4 that have others now.
    private static readonly string[] NotOurs =
    [
        "go_", "promhttp_", "process_virtual_memory_max_bytes", "etcd_server_go_version", "etcd_debugging_disk_backend_commit_", "etcd_debugging_store_",
        "etcd_debugging_snap_save_marshalling_", "etcd_debugging_mvcc_index_compaction_pause_", "etcd_debugging_mvcc_pending_events_total",
        "etcd_grpc_proxy_", "etcd_debugging_mvcc_db_total_size_in_bytes", "etcd_debugging_mvcc_delete_total", "etcd_debugging_mvcc_put_total",
        "etcd_debugging_mvcc_range_total", "etcd_debugging_mvcc_txn_total",
    ];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Every_metric_of_upstream_is_there_and_of_its_kind()
    {
        using StoreCluster ours = await StoreCluster.StartAsync(StoreKind.Kapell, 3);
        using StoreCluster theirs = await StoreCluster.StartAsync(StoreKind.Upstream, 3);
        HashSet<string> known = await KindsAsync(ours);
        string[] missing = [.. (await KindsAsync(theirs)).Where(k => !NotOurs.Any(n => k.StartsWith(n, StringComparison.Ordinal)) && !known.Contains(k)).Order()];
        Assert.Empty(missing);
    }

    /// <summary>With 0, for a rate of refusals that begins at the first one shows nothing of it.</summary>
    [Fact]
    public async Task Methods_that_nobody_called_are_there_too()
    {
        using StoreCluster ours = await StoreCluster.StartAsync(StoreKind.Kapell, 1);
        using StoreCluster theirs = await StoreCluster.StartAsync(StoreKind.Upstream, 1);
        HashSet<string> known = await CallsAsync(ours);
        Assert.Empty((await CallsAsync(theirs)).Where(c => !known.Contains(c)).Order());
    }

    [Fact]
    public async Task They_count()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--metrics", "extensive");
        int leader = await cluster.LeaderAsync();
        for (int i = 0; i < 5; i++)
        {
            await cluster.PutAsync(leader, "a", i.ToString(CultureInfo.InvariantCulture));
        }

        await cluster.GetAsync(leader, "a");
        await cluster.Leases(leader).LeaseGrantAsync(new LeaseGrantRequest { ID = 7, TTL = 100 }, cancellationToken: Cancellation);
        await cluster.Maintenance(leader).HashKVAsync(new HashKVRequest(), cancellationToken: Cancellation);
        await cluster.Maintenance(leader).DefragmentAsync(new DefragmentRequest(), cancellationToken: Cancellation);
        await cluster.Kv(leader).CompactAsync(new CompactionRequest { Revision = 5, Physical = true }, cancellationToken: Cancellation);

        // The way to the others is measured every five seconds, from the second time on.
        Dictionary<string, double> sums = [];
        await cluster.UntilAsync("a round trip is measured", async () =>
        {
            sums = SumsOf(await TextAsync(cluster, leader));
            return sums.GetValueOrDefault("etcd_network_peer_round_trip_time_seconds_count") >= 2;
        });
        Assert.Equal(2, sums["etcd_network_active_peers"]);
        Assert.Equal(2, sums["etcd_network_known_peers"]);
        Assert.True(sums["etcd_network_peer_sent_bytes_total"] > 0);
        Assert.True(sums["etcd_network_peer_received_bytes_total"] > 0);
        Assert.Equal(0, sums["etcd_network_peer_sent_failures_total"] + sums["etcd_network_peer_received_failures_total"]);
        Assert.True(sums["etcd_disk_wal_write_duration_seconds_count"] >= sums["etcd_disk_wal_fsync_duration_seconds_count"]);
        Assert.True(sums["etcd_disk_wal_fsync_duration_seconds_count"] >= 5);
        Assert.True(sums["etcd_server_apply_duration_seconds_count"] >= 7);
        Assert.True(sums["etcd_server_range_duration_seconds_count"] >= 1);
        Assert.True(sums["etcd_server_request_duration_seconds_count"] >= 8);
        Assert.Equal(1, sums["etcd_debugging_lease_ttl_total_count"]);
        Assert.Equal(1, sums["etcd_mvcc_hash_rev_duration_seconds_count"]);
        Assert.Equal(1, sums["etcd_disk_backend_defrag_duration_seconds_count"]);
        Assert.Equal(3, sums["etcd_debugging_mvcc_db_compaction_keys_total"]);
        Assert.Equal(1, sums["etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count"]);
        Assert.True(sums["etcd_debugging_mvcc_db_compaction_last"] > 0);
        Assert.Equal(10, sums["etcd_debugging_mvcc_total_put_size_in_bytes"]);
        Assert.True(sums["etcd_server_client_requests_total"] >= 10);
        Assert.Equal(sums["grpc_server_started_total"], sums["grpc_server_handled_total"]);
        Assert.Equal(sums["grpc_server_handled_total"], sums["grpc_server_handling_seconds_count"]);
        Assert.True(sums["grpc_server_msg_received_total"] >= 10 && sums["grpc_server_msg_sent_total"] >= 10);
        Assert.True(sums["os_fd_used"] > 0 && sums["os_fd_limit"] > sums["os_fd_used"]);

        cluster.Kill((leader + 1) % 3);
        await cluster.UntilAsync("the loss of a member is counted", async () =>
        {
            sums = SumsOf(await TextAsync(cluster, leader));
            return sums["etcd_network_active_peers"] == 1 && sums["etcd_network_disconnected_peers_total"] > 0;
        });
    }

    /// <summary>Names with their labels.</summary>
    private static async Task<HashSet<string>> CallsAsync(StoreCluster cluster) =>
        [.. (await TextAsync(cluster, 0)).Split('\n').Where(static l => l.StartsWith("grpc_server_", StringComparison.Ordinal)).Select(static l => l[..l.LastIndexOf(' ')])];

    private static async Task<HashSet<string>> KindsAsync(StoreCluster cluster)
    {
        await cluster.PutAsync(0, "a", "b");
        await cluster.Kv(0).DeleteRangeAsync(new DeleteRangeRequest { Key = ByteString.CopyFromUtf8("a") }, cancellationToken: Cancellation);
        HashSet<string> kinds = [];
        for (int i = 0; i < cluster.Count; i++)
        {
            string text = await TextAsync(cluster, i);
            kinds.UnionWith(text.Split('\n').Where(static l => l.StartsWith("# TYPE ", StringComparison.Ordinal)).Select(static l => l["# TYPE ".Length..]));
        }

        return kinds;
    }

    private static async Task<string> TextAsync(StoreCluster cluster, int node)
    {
        using HttpClient http = new();
        return await http.GetStringAsync(cluster.Url(node) + "/metrics", Cancellation);
    }

    /// <summary>Over all labels.</summary>
    private static Dictionary<string, double> SumsOf(string text)
    {
        Dictionary<string, double> sums = [];
        foreach (string line in text.Split('\n').Where(static l => l.Length > 0 && l[0] != '#'))
        {
            string name = line[..line.IndexOfAny(['{', ' '])];
            sums[name] = sums.GetValueOrDefault(name) + double.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture);
        }

        return sums;
    }
}

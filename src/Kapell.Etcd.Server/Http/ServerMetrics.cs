using System.Diagnostics;
using System.Globalization;
using System.Text;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Rpc;

namespace Kapell.Etcd.Server.Http;

/// <summary>What /metrics shows, under upstream's names as far as the thing is the same.</summary>
internal sealed class ServerMetrics
{
    private long _healthSuccesses;
    private long _healthFailures;

    public void CountHealth(bool good)
    {
        if (good)
        {
            Interlocked.Increment(ref _healthSuccesses);
        }
        else
        {
            Interlocked.Increment(ref _healthFailures);
        }
    }

    public string Write(ReplicaHost host, EtcdLimits limits)
    {
        StringBuilder text = new();
        bool leads = host.Replica.Raft.Leader == host.Replica.Raft.Id;
        Gauge(text, "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", host.Replica.Raft.Leader.IsNone ? 0 : 1);
        Gauge(text, "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", leads ? 1 : 0);
        Gauge(text, "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.", host.Replica.Raft.Committed.Value);
        Gauge(text, "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.", host.Replica.AppliedPosition.Index.Value);
        Gauge(text, "etcd_server_proposals_pending", "The current number of pending proposals to commit.", host.PendingProposals);
        Gauge(text, "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", limits.QuotaBytes);
        Counter(text, "etcd_server_health_success", "The total number of successful health checks", Interlocked.Read(ref _healthSuccesses));
        Counter(text, "etcd_server_health_failures", "The total number of failed health checks", Interlocked.Read(ref _healthFailures));
        (long revision, long compacted, long keys, long live, long allocated, int watchers, int leases) = host.Reading(() => (
            host.Store.Revision, host.Store.CompactRevision, host.Store.KeyCount, host.Store.LiveBytes, host.Store.AllocatedBytes,
            host.Store.Watchers.Count, host.Store.Leases.Count));
        Gauge(text, "etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.", allocated);
        Gauge(text, "etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.", live);
        Gauge(text, "etcd_debugging_mvcc_current_revision", "The current revision of store.", revision);
        Gauge(text, "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.", compacted);
        Gauge(text, "etcd_debugging_mvcc_keys_total", "Total number of keys.", keys);
        Gauge(text, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.", watchers);
        Gauge(text, "kapell_etcd_leases", "Leases that are granted now.", leases);
        Counter(text, "etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.", host.WalBytes);
        Counter(text, "kapell_etcd_wal_flushes_total", "Flushes of the write-ahead log: one serves all writes that waited.", host.WalSyncs);
        using Process self = Process.GetCurrentProcess();
        Gauge(text, "process_resident_memory_bytes", "Resident memory size in bytes.", self.WorkingSet64);
        text.Append(CultureInfo.InvariantCulture, $"# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n")
            .Append("# TYPE process_cpu_seconds_total counter\n")
            .Append(CultureInfo.InvariantCulture, $"process_cpu_seconds_total {self.TotalProcessorTime.TotalSeconds}\n");
        return text.ToString();
    }

    private static void Gauge(StringBuilder text, string name, string help, decimal value) => Add(text, name, help, "gauge", value);

    private static void Counter(StringBuilder text, string name, string help, decimal value) => Add(text, name, help, "counter", value);

    private static void Add(StringBuilder text, string name, string help, string kind, decimal value) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

using System.Diagnostics;
using System.Globalization;
using System.Text;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Rpc;

namespace Kapell.Etcd.Server.Http;

/// <summary>What /metrics shows, under upstream's names as far as the thing is the same.</summary>
internal sealed class ServerMetrics(CallCounter calls, WatchCounts watches, ComparisonState comparison)
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
        WriteServer(text, host, limits);
        WriteStore(text, host);
        Counter(text, "etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.", host.WalBytes);
        Counter(text, "kapell_etcd_wal_flushes_total", "Flushes of the write-ahead log: one serves all writes that waited.", host.WalSyncs);
        WriteHistogram(text, "etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.", host.WalFlushSeconds);
        WriteComparison(text);
        WriteBackups(text, host.Backups);
        WriteCalls(text);
        WriteProcess(text, host.Time);
        return text.ToString();
    }

    private void WriteServer(StringBuilder text, ReplicaHost host, EtcdLimits limits)
    {
        Raft.RaftNode raft = host.Replica.Raft;
        Gauge(text, "etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", raft.Leader.IsNone ? 0 : 1);
        Gauge(text, "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", raft.Leader == raft.Id ? 1 : 0);
        Gauge(text, "etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.", raft.ConfState.Learners.Contains(raft.Id) ? 1 : 0);
        Counter(text, "etcd_server_leader_changes_seen_total", "The number of leader changes seen.", host.LeaderChanges);
        Gauge(text, "etcd_server_proposals_committed_total", "The total number of consensus proposals committed.", raft.Committed.Value);
        Gauge(text, "etcd_server_proposals_applied_total", "The total number of consensus proposals applied.", host.Replica.AppliedPosition.Index.Value);
        Gauge(text, "etcd_server_proposals_pending", "The current number of pending proposals to commit.", host.PendingProposals);
        Counter(text, "etcd_server_proposals_failed_total", "The total number of failed proposals seen.", host.FailedProposals);
        Counter(text, "etcd_server_slow_apply_total", "The total number of slow apply requests (likely overloaded from slow disk).", host.SlowApplies);
        Counter(text, "etcd_server_slow_read_indexes_total", "The total number of pending read indexes not in sync with leader's or timed out read index requests.", host.SlowReads);
        Counter(text, "etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.", host.FailedReads);
        Gauge(text, "etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", limits.QuotaBytes);
        Counter(text, "etcd_server_health_success", "The total number of successful health checks", Interlocked.Read(ref _healthSuccesses));
        Counter(text, "etcd_server_health_failures", "The total number of failed health checks", Interlocked.Read(ref _healthFailures));
        Labelled(text, "etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.", "gauge", [($"server_version=\"{EtcdVersion.Server}\"", 1)]);
        Labelled(text, "etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version", "gauge", [($"cluster_version=\"{EtcdVersion.ClusterShort}\"", 1)]);
        Labelled(text, "etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.", "gauge", [($"server_id=\"{raft.Id.Value:x}\"", 1)]);
    }

    private void WriteStore(StringBuilder text, ReplicaHost host) => host.Reading(() =>
    {
        Mvcc.MvccStore store = host.Store;
        Gauge(text, "etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.", store.AllocatedBytes);
        Gauge(text, "etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.", store.LiveBytes);
        Counter(text, "etcd_mvcc_range_total", "Total number of ranges seen by this member.", store.Counts.Ranges);
        Counter(text, "etcd_mvcc_put_total", "Total number of puts seen by this member.", store.Counts.Puts);
        Counter(text, "etcd_mvcc_delete_total", "Total number of deletes seen by this member.", store.Counts.Deletes);
        Counter(text, "etcd_mvcc_txn_total", "Total number of txns seen by this member.", store.Counts.Transactions);
        Gauge(text, "etcd_debugging_mvcc_current_revision", "The current revision of store.", store.Revision);
        Gauge(text, "etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.", store.CompactRevision);
        Gauge(text, "etcd_debugging_auth_revision", "The current revision of auth store.", host.Replica.Applier.Auth.Revision);
        Gauge(text, "etcd_debugging_mvcc_keys_total", "Total number of keys.", store.LiveKeyCount);
        Gauge(text, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.", store.Watchers.Count);
        Gauge(text, "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", watches.Streams);
        Gauge(text, "etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.", watches.Slow);
        Counter(text, "etcd_debugging_mvcc_events_total", "Total number of events sent by this member.", watches.Events);
        Gauge(text, "kapell_etcd_leases", "Leases that are granted now.", store.Leases.Count);
        Counter(text, "etcd_debugging_lease_granted_total", "The total number of granted leases.", store.Leases.Granted);
        Counter(text, "etcd_debugging_lease_revoked_total", "The total number of revoked leases.", store.Leases.Revoked);
        Counter(text, "etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader.", store.Leases.Renewed);
        return true;
    });

    private static void WriteBackups(StringBuilder text, Backups.BackupKeeper? backups)
    {
        if (backups is not null)
        {
            Gauge(text, "kapell_etcd_backup_reaches_seconds", "Up to when the content is safe in the backup, since unix epoch; 0 for never.", backups.ReachesSeconds);
            Gauge(text, "kapell_etcd_backup_taken_seconds", "When the newest whole backup was taken, since unix epoch; 0 for never.", backups.TakenSeconds);
            Counter(text, "kapell_etcd_backup_failures_total", "How often the backup failed and was begun anew.", backups.Failures);
        }
    }

    private void WriteComparison(StringBuilder text)
    {
        Counter(text, "kapell_etcd_compared_stretches_total", "Stretches of keys that were compared with other members.", comparison.Stretches);
        Counter(text, "kapell_etcd_uncompared_stretches_total", "Stretches of keys for which no other member answered.", comparison.Alone);
        Counter(text, "kapell_etcd_comparison_rounds_total", "Rounds over all keys in which every member was compared.", comparison.Rounds);
        Gauge(text, "kapell_etcd_last_comparison_round_seconds", "When the last of them ended, since unix epoch; 0 for none.", comparison.LastRoundSeconds);
        Labelled(text, "kapell_etcd_difference", "Members whose content differs: where first. As this process found it.", "gauge", comparison.Differences.Select(static d =>
            ($"members=\"{string.Join(' ', d.Accused.Select(static a => a.ToString("x", CultureInfo.InvariantCulture)))}\",revision=\"{d.Revision}\",key=\"{Escape(d.Key)}\"", 1L)));
    }

    private static string Escape(byte[] key) => Difference.Show(key).Replace("\\", "\\\\", StringComparison.Ordinal);

    private void WriteCalls(StringBuilder text)
    {
        Counter(text, "etcd_network_client_grpc_received_bytes_total", "The total number of bytes received from grpc clients.", calls.BytesReceived);
        Counter(text, "etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.", calls.BytesSent);
        Labelled(text, "grpc_server_started_total", "Total number of RPCs started on the server.", "counter",
            calls.Started.Select(static s => (MethodLabels(s.Method, s.Kind), s.Calls)));
        Labelled(text, "grpc_server_handled_total", "Total number of RPCs completed on the server, regardless of success or failure.", "counter",
            calls.Handled.Select(static h => ($"grpc_code=\"{CodeName(h.Code)}\"," + MethodLabels(h.Method, h.Kind), h.Calls)));
    }

    private static string CodeName(Grpc.Core.StatusCode code) => code == Grpc.Core.StatusCode.Cancelled ? "Canceled" : code.ToString();

    /// <summary>As Go's interceptor names them; the method is "/service/name".</summary>
    private static string MethodLabels(string method, string kind)
    {
        int slash = method.LastIndexOf('/');
        return $"grpc_method=\"{method[(slash + 1)..]}\",grpc_service=\"{method[..slash].TrimStart('/')}\",grpc_type=\"{kind}\"";
    }

    private static void WriteProcess(StringBuilder text, TimeProvider time)
    {
        using Process self = Process.GetCurrentProcess();
        Gauge(text, "process_resident_memory_bytes", "Resident memory size in bytes.", self.WorkingSet64);
        Gauge(text, "process_virtual_memory_bytes", "Virtual memory size in bytes.", self.VirtualMemorySize64);
        Counter(text, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", (decimal)self.TotalProcessorTime.TotalSeconds);
        TimeSpan age = time.GetUtcNow() - self.StartTime.ToUniversalTime();
        Gauge(text, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", (decimal)(time.GetUtcNow() - age - DateTimeOffset.UnixEpoch).TotalSeconds);
        GCMemoryInfo collected = GC.GetGCMemoryInfo(GCKind.Any);
        Gauge(text, "dotnet_gc_heap_size_bytes", "Of the collected heap after the last collection, holes included.", collected.HeapSizeBytes);
        Gauge(text, "dotnet_gc_fragmented_bytes", "Of them, holes.", collected.FragmentedBytes);
        Gauge(text, "dotnet_gc_committed_bytes", "Memory that the collected heap holds from the system.", collected.TotalCommittedBytes);
        Counter(text, "dotnet_gc_pause_seconds_total", "Time in which everything stood still for a collection.", (decimal)GC.GetTotalPauseDuration().TotalSeconds);
        Gauge(text, "process_open_fds", "Number of open file descriptors.", Directory.GetFileSystemEntries("/proc/self/fd").Length);
        Gauge(text, "process_max_fds", "Maximum number of open file descriptors.", OpenFilesMax());
    }

    private static decimal OpenFilesMax()
    {
        // "Max open files            1024                 4096                 files"
        string? line = File.ReadLines("/proc/self/limits").FirstOrDefault(static l => l.StartsWith("Max open files", StringComparison.Ordinal));
        string[] words = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return words.Length > 3 && decimal.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out decimal most) ? most : 0;
    }

    private static void WriteHistogram(StringBuilder text, string name, string help, Histogram histogram)
    {
        long[] counts = histogram.Cumulated();
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} histogram\n");
        for (int i = 0; i < histogram.Bounds.Count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{le=\"{histogram.Bounds[i]:0.######}\"}} {counts[i]}\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"{name}_bucket{{le=\"+Inf\"}} {counts[^1]}\n");
        text.Append(CultureInfo.InvariantCulture, $"{name}_sum {histogram.Sum}\n{name}_count {counts[^1]}\n");
    }

    private static void Labelled(StringBuilder text, string name, string help, string kind, IEnumerable<(string Labels, long Value)> samples)
    {
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {kind}\n");
        foreach ((string labels, long value) in samples)
        {
            text.Append(CultureInfo.InvariantCulture, $"{name}{{{labels}}} {value}\n");
        }
    }

    private static void Gauge(StringBuilder text, string name, string help, decimal value) => Add(text, name, help, "gauge", value);

    private static void Counter(StringBuilder text, string name, string help, decimal value) => Add(text, name, help, "counter", value);

    private static void Add(StringBuilder text, string name, string help, string kind, decimal value) =>
        text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

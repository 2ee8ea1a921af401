using System.Diagnostics;
using System.Globalization;
using System.Text;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Rpc;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>What /metrics shows, under upstream's names as far as the thing is the same.</summary>
internal sealed class ServerMetrics(
    ReplicaHost host, EtcdOptions options, CallCounter calls, WatchCounts watches, ComparisonState comparison, LeaderCalls leader, PeerMetrics peers)
{
    private static readonly (string Name, GCKind Kind)[] CollectionKinds =
        [("young", GCKind.Ephemeral), ("full", GCKind.FullBlocking), ("background", GCKind.Background)];

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

    public void Write(MetricsText text)
    {
        WriteServer(text);
        WriteStore(text);
        text.Gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes written in WAL.", host.WalBytes);
        text.Counter("kapell_etcd_wal_flushes_total", "Flushes of the write-ahead log: one serves all writes that waited.", host.WalSyncs);
        WriteDisk(text, host.Times);
        WriteComparison(text);
        WriteBackups(text, host.Backups);
        peers.Write(text);
        CallMetrics.Write(text, calls);
        WriteProcess(text, host.Time);
    }

    private void WriteServer(MetricsText text)
    {
        Raft.RaftNode raft = host.Replica.Raft;
        text.Gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", raft.Leader.IsNone ? 0 : 1);
        text.Gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", raft.Leader == raft.Id ? 1 : 0);
        text.Gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.", raft.ConfState.Learners.Contains(raft.Id) ? 1 : 0);
        text.Counter("etcd_server_leader_changes_seen_total", "The number of leader changes seen.", host.LeaderChanges);
        text.Gauge("etcd_server_proposals_committed_total", "The total number of consensus proposals committed.", raft.Committed.Value);
        text.Gauge("etcd_server_proposals_applied_total", "The total number of consensus proposals applied.", host.Replica.AppliedPosition.Index.Value);
        text.Gauge("etcd_server_proposals_pending", "The current number of pending proposals to commit.", host.PendingProposals);
        text.Counter("etcd_server_proposals_failed_total", "The total number of failed proposals seen.", host.FailedProposals);
        text.Counter("etcd_server_slow_apply_total", "The total number of slow apply requests (likely overloaded from slow disk).", host.SlowApplies);
        text.Counter("etcd_server_slow_read_indexes_total", "The total number of pending read indexes not in sync with leader's or timed out read index requests.", host.SlowReads);
        text.Counter("etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.", host.FailedReads);
        text.Counter("etcd_server_heartbeat_send_failures_total", "The total number of leader heartbeat send failures (likely overloaded from slow disk).", host.LateHeartbeats);
        text.Counter("etcd_server_learner_promote_successes", "The total number of successful learner promotions while this member is leader.", host.Promotions + leader.Promotions);
        text.Counters("etcd_server_learner_promote_failures", "The total number of failed learner promotions (likely learner not ready) while this member is leader.", leader.FailedPromotions.Select(static f =>
            ($"Reason=\"{MetricsText.Escape(f.Reason)}\"", f.Times)));
        text.Counter("etcd_debugging_server_lease_expired_total", "The total number of expired leases.", host.Replica.ExpiredLeases);
        text.Histograms("etcd_server_apply_duration_seconds", "The latency distributions of v2 apply called by backend.", host.Times.Applies.Show());
        text.Histograms("etcd_server_range_duration_seconds", "The latency distributions of txn.Range", host.Times.Ranges.Show());
        text.Gauges("etcd_server_feature_enabled", "Whether or not a feature is enabled. 1 is enabled, 0 is not.", options.Features.Select(static f =>
            ($"name=\"{f.Name}\",stage=\"{f.Stage}\"", f.IsOn ? 1L : 0L)));
        text.Gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", options.Limits.QuotaBytes);
        text.Counter("etcd_server_health_success", "The total number of successful health checks", Interlocked.Read(ref _healthSuccesses));
        text.Counter("etcd_server_health_failures", "The total number of failed health checks", Interlocked.Read(ref _healthFailures));
        text.Gauges("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.", [($"server_version=\"{EtcdVersion.Server}\"", 1)]);
        text.Gauges("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label with current cluster version", [($"cluster_version=\"{EtcdVersion.ClusterShort}\"", 1)]);
        text.Gauges("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.", [($"server_id=\"{raft.Id.Value:x}\"", 1)]);
    }

    private void WriteStore(MetricsText text) => host.Reading(() =>
    {
        Mvcc.MvccStore store = host.Store;
        text.Gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the underlying database physically allocated in bytes.", store.AllocatedBytes);
        text.Gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Total size of the underlying database logically in use in bytes.", store.LiveBytes);
        text.Counter("etcd_mvcc_range_total", "Total number of ranges seen by this member.", store.Counts.Ranges);
        text.Counter("etcd_mvcc_put_total", "Total number of puts seen by this member.", store.Counts.Puts);
        text.Counter("etcd_mvcc_delete_total", "Total number of deletes seen by this member.", store.Counts.Deletes);
        text.Counter("etcd_mvcc_txn_total", "Total number of txns seen by this member.", store.Counts.Transactions);
        text.Gauge("etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions", store.Readers);
        text.Gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "The total size of put kv pairs seen by this member.", store.Counts.PutBytes);
        text.Counter("etcd_debugging_mvcc_db_compaction_keys_total", "Total number of db keys compacted.", store.CompactedRecords);
        text.Gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", store.Revision);
        text.Gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.", store.CompactRevision);
        text.Gauge("etcd_debugging_auth_revision", "The current revision of auth store.", host.Replica.Applier.Auth.Revision);
        text.Gauge("etcd_debugging_mvcc_keys_total", "Total number of keys.", store.LiveKeyCount);
        text.Gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", store.Watchers.Count);
        text.Gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", watches.Streams);
        text.Gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.", watches.Slow);
        text.Counter("etcd_debugging_mvcc_events_total", "Total number of events sent by this member.", watches.Events);
        text.Gauge("kapell_etcd_leases", "Leases that are granted now.", store.Leases.Count);
        text.Counter("etcd_debugging_lease_granted_total", "The total number of granted leases.", store.Leases.Granted);
        text.Counter("etcd_debugging_lease_revoked_total", "The total number of revoked leases.", store.Leases.Revoked);
        text.Counter("etcd_debugging_lease_renewed_total", "The number of renewed leases seen by the leader.", store.Leases.Renewed);
        text.Histogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", store.Leases.Ttls);
        return true;
    });

    // What upstream measures of its database is measured of the checkpoints here.
    private static void WriteDisk(MetricsText text, MemberTimes times)
    {
        text.Histogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of fsync called by WAL.", times.LogFlushes);
        text.Histogram("etcd_disk_wal_write_duration_seconds", "The latency distributions of write called by WAL.", times.LogWrites);
        text.Histogram("etcd_disk_backend_commit_duration_seconds", "The latency distributions of commit called by backend.", times.CheckpointPieces);
        text.Histogram("etcd_disk_backend_snapshot_duration_seconds", "The latency distribution of backend snapshots.", times.Snapshots);
        text.Histogram("etcd_disk_backend_defrag_duration_seconds", "The latency distribution of backend defragmentation.", times.Defragmentations);

        // There is nothing to defragment: no member is ever at it.
        text.Gauge("etcd_disk_defrag_inflight", "Whether or not defrag is active on the member. 1 means active, 0 means not.", 0);
        text.Histogram("etcd_snap_fsync_duration_seconds", "The latency distributions of fsync called by snap.", times.CheckpointFlushes);
        text.Histogram("etcd_debugging_snap_save_total_duration_seconds", "The total latency distributions of save called by snapshot.", times.Checkpoints);
        text.Histogram("etcd_snap_db_fsync_duration_seconds", "The latency distributions of fsyncing .snap.db file", times.ReceivedFlushes);
        text.Histogram("etcd_snap_db_save_total_duration_seconds", "The total latency distributions of v3 snapshot save", times.ReceivedCheckpoints);
        text.Histogram("etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation.", times.Hashes);
        text.Histogram("etcd_mvcc_hash_rev_duration_seconds", "The latency distribution of storage hash by revision operation.", times.RevisionHashes);
        text.Histogram("etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds", "Bucketed histogram of db compaction pause duration.", times.Compactions.Pauses);
        text.Histogram("etcd_debugging_mvcc_db_compaction_total_duration_milliseconds", "Bucketed histogram of db compaction total duration.", times.Compactions.Totals);
        text.Gauge("etcd_debugging_mvcc_db_compaction_last", "The unix time of the last db compaction. Resets to 0 on start.", times.Compactions.LastSeconds);
    }

    private static void WriteBackups(MetricsText text, Backups.BackupKeeper? backups)
    {
        if (backups is not null)
        {
            text.Gauge("kapell_etcd_backup_reaches_seconds", "Up to when the content is safe in the backup, since unix epoch; 0 for never.", backups.ReachesSeconds);
            text.Gauge("kapell_etcd_backup_taken_seconds", "When the newest whole backup was taken, since unix epoch; 0 for never.", backups.TakenSeconds);
            text.Counter("kapell_etcd_backup_failures_total", "How often the backup failed and was begun anew.", backups.Failures);
        }
    }

    private void WriteComparison(MetricsText text)
    {
        text.Counter("kapell_etcd_compared_stretches_total", "Stretches of keys that were compared with other members.", comparison.Stretches);
        text.Counter("kapell_etcd_uncompared_stretches_total", "Stretches of keys for which no other member answered.", comparison.Alone);
        text.Counter("kapell_etcd_comparison_rounds_total", "Rounds over all keys in which every member was compared.", comparison.Rounds);
        text.Gauge("kapell_etcd_last_comparison_round_seconds", "When the last of them ended, since unix epoch; 0 for none.", comparison.LastRoundSeconds);
        text.Gauges("kapell_etcd_difference", "Members whose content differs: where first. As this process found it.", comparison.Differences.Select(static d =>
            ($"members=\"{string.Join(' ', d.Accused.Select(static a => a.ToString("x", CultureInfo.InvariantCulture)))}\",revision=\"{d.Revision}\",key=\"{MetricsText.Escape(Difference.Show(d.Key))}\"", 1L)));
    }

    private static void WriteProcess(MetricsText text, TimeProvider time)
    {
        using Process self = Process.GetCurrentProcess();
        text.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.", self.WorkingSet64);
        text.Gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", self.VirtualMemorySize64);
        text.Counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", (decimal)self.TotalProcessorTime.TotalSeconds);
        TimeSpan age = time.GetUtcNow() - self.StartTime.ToUniversalTime();
        text.Gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", (decimal)(time.GetUtcNow() - age - DateTimeOffset.UnixEpoch).TotalSeconds);
        GCMemoryInfo collected = GC.GetGCMemoryInfo(GCKind.Any);
        text.Gauge("dotnet_gc_heap_size_bytes", "Of the collected heap after the last collection, holes included.", collected.HeapSizeBytes);
        text.Gauge("dotnet_gc_fragmented_bytes", "Of them, holes.", collected.FragmentedBytes);
        text.Gauge("dotnet_gc_committed_bytes", "Memory that the collected heap holds from the system.", collected.TotalCommittedBytes);
        text.Counters("dotnet_gc_collections_total", "Collections, by the oldest generation that was collected.", Enumerable.Range(0, GC.MaxGeneration + 1).Select(static g =>
            ($"generation=\"{g}\"", (long)GC.CollectionCount(g) - (g < GC.MaxGeneration ? GC.CollectionCount(g + 1) : 0))));
        text.Counter("dotnet_gc_allocated_bytes_total", "Bytes allocated on the collected heap.", GC.GetTotalAllocatedBytes());
        text.Counter("dotnet_gc_pause_seconds_total", "Time in which everything stood still for a collection.", (decimal)GC.GetTotalPauseDuration().TotalSeconds);
        text.Gauges("dotnet_gc_last_pause_seconds", "The longest standstill of the last collection of each kind; 0 for none.", CollectionKinds.Select(static k =>
            ($"kind=\"{k.Name}\"", (decimal)LongestPause(GC.GetGCMemoryInfo(k.Kind)).TotalSeconds)));
        int used = Directory.EnumerateFileSystemEntries("/proc/self/fd").Count();
        decimal limit = OpenFilesMax();
        text.Gauge("process_open_fds", "Number of open file descriptors.", used);
        text.Gauge("process_max_fds", "Maximum number of open file descriptors.", limit);
        text.Gauge("os_fd_used", "The number of used file descriptors.", used);
        text.Gauge("os_fd_limit", "The file descriptor limit.", limit);
    }

    // A collection beside the running program stands still twice.
    private static TimeSpan LongestPause(GCMemoryInfo collected)
    {
        TimeSpan longest = TimeSpan.Zero;
        foreach (TimeSpan pause in collected.PauseDurations)
        {
            longest = pause > longest ? pause : longest;
        }

        return longest;
    }

    private static decimal OpenFilesMax()
    {
        // "Max open files            1024                 4096                 files"
        string? line = File.ReadLines("/proc/self/limits").FirstOrDefault(static l => l.StartsWith("Max open files", StringComparison.Ordinal));
        string[] words = line?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        return words.Length > 3 && decimal.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out decimal most) ? most : 0;
    }
}

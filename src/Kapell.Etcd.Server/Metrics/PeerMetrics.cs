using System.Globalization;
using Kapell.Base;
using Kapell.Etcd.Server.Peers;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>What passes between this member and the others. etcd: rafthttp/metrics.go</summary>
internal sealed class PeerMetrics(PeerTransport transport, SnapshotReceiver snapshots)
{
    public void Write(MetricsText text)
    {
        (string Remote, bool IsConnected, PeerCounts Counts)[] all = [.. transport.All.Select(static p => (Hex(p.Member), p.IsConnected, p.Counts))];
        string local = Hex(transport.Context.Self);
        IEnumerable<(string, long)> Between(Func<PeerCounts, bool, long> value) =>
            all.Select(p => ($"Local=\"{local}\",Remote=\"{p.Remote}\"", value(p.Counts, p.IsConnected)));
        IEnumerable<(string, long)> To(Func<PeerCounts, long> value) => all.Select(p => ($"To=\"{p.Remote}\"", value(p.Counts)));
        IEnumerable<(string, long)> From(Func<PeerCounts, long> value) => all.Select(p => ($"From=\"{p.Remote}\"", value(p.Counts)));
        IEnumerable<(string, Histogram)> TimesTo(Func<PeerCounts, Histogram> value) => all.Select(p => ($"To=\"{p.Remote}\"", value(p.Counts)));

        text.Gauges("etcd_network_known_peers", "The current number of known peers.", Between(static (_, _) => 1));
        text.Gauges("etcd_network_active_peers", "The current number of active peer connections.", Between(static (_, connected) => connected ? 1 : 0));
        text.Counters("etcd_network_disconnected_peers_total", "The total number of disconnected peers.", Between(static (c, _) => c.Disconnects));
        text.Counters("etcd_network_peer_sent_bytes_total", "The total number of bytes sent to peers.", To(static c => c.SentBytes));
        text.Counters("etcd_network_peer_received_bytes_total", "The total number of bytes received from peers.", From(static c => c.ReceivedBytes));
        text.Counters("etcd_network_peer_sent_failures_total", "The total number of send failures from peers.", To(static c => c.SendFailures));
        text.Counters("etcd_network_peer_received_failures_total", "The total number of receive failures from peers.", From(static c => c.ReceiveFailures));
        text.Histograms("etcd_network_peer_round_trip_time_seconds", "Round-Trip-Time histogram between peers", TimesTo(static c => c.RoundTrips));
        text.Counters("etcd_network_snapshot_send_success", "Total number of successful snapshot sends", To(static c => c.Snapshots.Successes));
        text.Counters("etcd_network_snapshot_send_failures", "Total number of snapshot send failures", To(static c => c.Snapshots.Failures));
        text.Gauges("etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends", To(static c => c.Snapshots.UnderWay));
        text.Histograms("etcd_network_snapshot_send_total_duration_seconds", "Total latency distributions of v3 snapshot sends", TimesTo(static c => c.Snapshots.Times));
        text.Counters("etcd_network_snapshot_receive_success", "Total number of successful snapshot receives", From(static c => c.ReceivedSnapshots.Successes));
        text.Counters("etcd_network_snapshot_receive_failures", "Total number of snapshot receive failures", From(static c => c.ReceivedSnapshots.Failures));
        text.Gauges("etcd_network_snapshot_receive_inflights_total", "Total number of inflight snapshot receives", From(static c => c.ReceivedSnapshots.UnderWay));
        text.Histograms(
            "etcd_network_snapshot_receive_total_duration_seconds", "Total latency distributions of v3 snapshot receives",
            all.Select(static p => ($"From=\"{p.Remote}\"", p.Counts.ReceivedSnapshots.Times)));
        text.Gauge("etcd_server_snapshot_apply_in_progress_total", "1 if the server is applying the incoming snapshot. 0 if none.", snapshots.IsTaking ? 1 : 0);
    }

    private static string Hex(ulong member) => member.ToString("x", CultureInfo.InvariantCulture);
}

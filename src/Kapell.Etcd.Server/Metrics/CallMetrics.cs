using Grpc.Core;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>The calls of clients, as Go's interceptors for Prometheus name them. etcd: api/v3rpc/metrics.go, go-grpc-middleware/providers/prometheus</summary>
internal static class CallMetrics
{
    public static void Write(MetricsText text, CallCounter calls)
    {
        text.Counter("etcd_network_client_grpc_received_bytes_total", "The total number of bytes received from grpc clients.", calls.BytesReceived);
        text.Counter("etcd_network_client_grpc_sent_bytes_total", "The total number of bytes sent to grpc clients.", calls.BytesSent);
        text.Counters("etcd_server_client_requests_total", "The total number of client requests per client version.", calls.Clients.SelectMany(static c => new[]
        {
            ($"type=\"unary\",client_api_version=\"{MetricsText.Escape(c.Version)}\"", c.Unary),
            ($"type=\"stream\",client_api_version=\"{MetricsText.Escape(c.Version)}\"", c.Streams),
        }).Where(static c => c.Item2 > 0));
        text.Histograms(
            "etcd_server_request_duration_seconds", "Response latency distribution in seconds for each type.",
            calls.Requests.SelectMany(static r => r.Times.Show($"type=\"{r.Type}\",")));
        WriteMethods(text, calls);
    }

    /// <summary>By method; of the proxy too.</summary>
    public static void WriteMethods(MetricsText text, CallCounter calls)
    {
        text.Counters("grpc_server_started_total", "Total number of RPCs started on the server.", calls.Started.Select(static s => (Labels(s.Method, s.Kind), s.Calls)));
        text.Counters(
            "grpc_server_handled_total", "Total number of RPCs completed on the server, regardless of success or failure.",
            calls.Handled.Select(static h => ($"grpc_code=\"{NameOf(h.Code)}\"," + Labels(h.Method, h.Kind), h.Calls)));
        text.Counters(
            "grpc_server_msg_received_total", "Total number of RPC stream messages received on the server.",
            calls.MessagesReceived.Select(static m => (Labels(m.Method, m.Kind), m.Messages)));
        text.Counters(
            "grpc_server_msg_sent_total", "Total number of gRPC stream messages sent by the server.",
            calls.MessagesSent.Select(static m => (Labels(m.Method, m.Kind), m.Messages)));
        text.Histograms(
            "grpc_server_handling_seconds", "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
            calls.Times.Select(static t => (Labels(t.Method, t.Kind), t.Times)));
    }

    // As Go spells it.
    private static string NameOf(StatusCode code) => code == StatusCode.Cancelled ? "Canceled" : code.ToString();

    /// <summary>The method is "/service/name".</summary>
    private static string Labels(string method, string kind)
    {
        int slash = method.LastIndexOf('/');
        return $"grpc_method=\"{method[(slash + 1)..]}\",grpc_service=\"{method[..slash].TrimStart('/')}\",grpc_type=\"{kind}\"";
    }
}

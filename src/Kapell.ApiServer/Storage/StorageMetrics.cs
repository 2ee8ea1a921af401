using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Storage;

/// <summary>How long the store took, per operation and resource (upstream: etcd_request_duration_seconds).</summary>
internal sealed class StorageMetrics(MetricsRegistry metrics, TimeProvider time)
{
    private readonly Histogram _latency = metrics.Histogram(
        "etcd_request_duration_seconds", "Time the store took to answer, by operation and resource.",
        ["operation", "group", "resource"], [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]);

    public long Start() => time.GetTimestamp();

    public void Done(long began, string operation, GroupResource resource) =>
        _latency.Observe(time.GetElapsedTime(began).TotalSeconds, operation, resource.Group, resource.Resource);
}

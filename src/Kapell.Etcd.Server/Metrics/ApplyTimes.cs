using System.Collections.Concurrent;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Metrics;

/// <summary>How long each kind of command took to be carried out. etcd: txn/metrics.go, apply/uber_applier.go</summary>
internal sealed class ApplyTimes(TimeProvider time) : IApplyTimes
{
    private readonly ConcurrentDictionary<Type, OutcomeTimes> _times = new();

    public long Begin() => time.GetTimestamp();

    public void Applied(IMessage request, bool success, long began)
    {
        OutcomeTimes times = _times.GetOrAdd(request.GetType(), static _ => new OutcomeTimes(New));
        times.Observe(time.GetElapsedTime(began).TotalSeconds, success);
    }

    public static Histogram New() => Histogram.Exponential(0.0001, 2, 20);

    public IEnumerable<(string Labels, Histogram Times)> Show() => _times
        .Select(static t => (Name: NameOf(t.Key), t.Value))
        .OrderBy(static t => t.Name, StringComparer.Ordinal)
        .SelectMany(static t => t.Value.Show($"version=\"v3\",op=\"{t.Name}\","));

    // The request's own name, but for what has none of its own upstream.
    private static string NameOf(Type request) =>
        request == typeof(Member) ? "ClusterMemberAttrSet"
        : request == typeof(TokenGrant) ? "Authenticate"
        : request.Name.EndsWith("Request", StringComparison.Ordinal) ? request.Name[..^"Request".Length]
        : request.Name;
}

using System.Collections.Concurrent;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Server.Metrics;

namespace Kapell.Etcd.Server.Calls;

/// <summary>Counts calls by method and outcome, and messages with their bytes, for the metrics that upstream's interceptors give.</summary>
/// <param name="measures">Also how long calls take, by method.</param>
public sealed class CallCounter(bool measures = false)
{
    // What a client says of itself is its own choice: no more than so many names are kept, and none that is long.
    private const int VersionsMax = 64;
    private const int VersionLengthMax = 32;
    private const string UnknownVersion = "unknown";

    private readonly ConcurrentDictionary<string, MethodCount> _methods = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, VersionCount> _versions = new(StringComparer.Ordinal);
    private long _received;
    private long _sent;

    public long BytesReceived => Interlocked.Read(ref _received);

    public long BytesSent => Interlocked.Read(ref _sent);

    /// <summary>Full method name and kind (unary, bidi_stream, server_stream) with the number of calls; those that nobody called too, so that a rate has a beginning.</summary>
    public IEnumerable<(string Method, string Kind, long Calls)> Started => Methods().Select(static m => (m.Method, m.Kind, m.Started));

    public IEnumerable<(string Method, string Kind, StatusCode Code, long Calls)> Handled => Methods().SelectMany(static m =>
        Enumerable.Range(0, MethodCount.Codes).Select(c => (m.Method, m.Kind, (StatusCode)c, m.Handled(c))));

    public IEnumerable<(string Method, string Kind, long Messages)> MessagesReceived => Methods().Select(static m => (m.Method, m.Kind, m.Received));

    public IEnumerable<(string Method, string Kind, long Messages)> MessagesSent => Methods().Select(static m => (m.Method, m.Kind, m.Sent));

    /// <summary>Seconds from the beginning of each call to its end, when they are measured.</summary>
    public IEnumerable<(string Method, string Kind, Histogram Times)> Times =>
        Methods().Where(static m => m.Times is not null).Select(static m => (m.Method, m.Kind, m.Times!));

    /// <summary>Seconds of the requests that read or change what is kept, under upstream's names of their kinds.</summary>
    internal IEnumerable<(string Type, OutcomeTimes Times)> Requests => Methods()
        .Where(static m => m.Started > 0 && m.Requests is not null).Select(static m => (m.RequestType!, m.Requests!)).OrderBy(static r => r.Item1, StringComparer.Ordinal);

    /// <summary>Calls by what the client says of the version of the API that it speaks.</summary>
    public IEnumerable<(string Version, long Unary, long Streams)> Clients =>
        _versions.OrderBy(static v => v.Key, StringComparer.Ordinal).Select(static v => (v.Key, v.Value.Unary, v.Value.Streams));

    internal MethodCount Of(string method, string kind) => _methods.GetOrAdd(method, name => new MethodCount(name, kind, measures ? NewTimes() : null));

    internal VersionCount OfClient(string? version)
    {
        string name = version is { Length: > 0 and <= VersionLengthMax } said && said.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '+') ? said : UnknownVersion;
        return _versions.TryGetValue(name, out VersionCount? known) ? known
            : _versions.GetOrAdd(_versions.Count < VersionsMax ? name : UnknownVersion, static _ => new VersionCount());
    }

    internal void Received(long bytes) => Interlocked.Add(ref _received, bytes);

    internal void Sent(long bytes) => Interlocked.Add(ref _sent, bytes);

    // Of Go's client for Prometheus: DefBuckets.
    private static Histogram NewTimes() => new(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10);

    private IEnumerable<MethodCount> Methods() => _methods.Values.OrderBy(static m => m.Method, StringComparer.Ordinal);
}

/// <summary>Calls of clients of one version.</summary>
internal sealed class VersionCount
{
    private long _unary;
    private long _streams;

    public long Unary => Interlocked.Read(ref _unary);

    public long Streams => Interlocked.Read(ref _streams);

    public void Begin(bool stream) => Interlocked.Increment(ref stream ? ref _streams : ref _unary);
}

/// <summary>Of one method.</summary>
internal sealed class MethodCount(string method, string kind, Histogram? times)
{
    private static readonly string[] Services = ["/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Maintenance/Alarm", "/etcdserverpb.Auth/"];
    public const int Codes = 17;
    private readonly long[] _handled = new long[Codes];
    private long _started;
    private long _received;
    private long _sent;

    public string Method => method;

    public string Kind => kind;

    public long Started => Interlocked.Read(ref _started);

    /// <summary>Messages of clients.</summary>
    public long Received => Interlocked.Read(ref _received);

    /// <summary>Messages to clients.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>Null when nobody asked for it.</summary>
    public Histogram? Times => times;

    /// <summary>What upstream calls a request of this method, when it goes to the store; null else. etcd: v3_server.go getRequestType</summary>
    public string? RequestType { get; } = TypeOf(method, kind);

    /// <summary>Null when <see cref="RequestType"/> is.</summary>
    public OutcomeTimes? Requests { get; } = TypeOf(method, kind) is null ? null : new OutcomeTimes(static () => Histogram.Exponential(0.001, 2, 14));

    public long Handled(int code) => Interlocked.Read(ref _handled[code]);

    public void Start() => Interlocked.Increment(ref _started);

    public void MessageReceived() => Interlocked.Increment(ref _received);

    public void MessageSent() => Interlocked.Increment(ref _sent);

    public void End(StatusCode code) => Interlocked.Increment(ref _handled[Math.Clamp((int)code, 0, Codes - 1)]);

    private static string? TypeOf(string method, string kind)
    {
        if (kind != "unary" || !Services.Any(s => method.StartsWith(s, StringComparison.Ordinal)))
        {
            return null;
        }

        string name = method[(method.LastIndexOf('/') + 1)..];
        return name == "Compact" ? "Compaction"
            : name.StartsWith("User", StringComparison.Ordinal) || name.StartsWith("Role", StringComparison.Ordinal) ? "Auth" + name
            : name;
    }
}

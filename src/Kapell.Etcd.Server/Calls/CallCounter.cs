using System.Collections.Concurrent;
using Grpc.Core;

namespace Kapell.Etcd.Server.Calls;

/// <summary>Counts calls by method and outcome, and the bytes of messages, for the metrics that upstream's interceptor gives.</summary>
public sealed class CallCounter
{
    private readonly ConcurrentDictionary<string, MethodCount> _methods = new(StringComparer.Ordinal);
    private long _received;
    private long _sent;

    public long BytesReceived => Interlocked.Read(ref _received);

    public long BytesSent => Interlocked.Read(ref _sent);

    /// <summary>Full method name and kind (unary, bidi_stream, server_stream) with the number of calls; only methods that were called.</summary>
    public IEnumerable<(string Method, string Kind, long Calls)> Started => Called().Select(static m => (m.Method, m.Kind, m.Started));

    public IEnumerable<(string Method, string Kind, StatusCode Code, long Calls)> Handled => Called().SelectMany(static m =>
        Enumerable.Range(0, MethodCount.Codes).Where(c => m.Handled(c) > 0).Select(c => (m.Method, m.Kind, (StatusCode)c, m.Handled(c))));

    internal MethodCount Of(string method, string kind) => _methods.GetOrAdd(method, name => new MethodCount(name, kind));

    internal void Received(long bytes) => Interlocked.Add(ref _received, bytes);

    internal void Sent(long bytes) => Interlocked.Add(ref _sent, bytes);

    private IEnumerable<MethodCount> Called() => _methods.Values.Where(static m => m.Started > 0).OrderBy(static m => m.Method, StringComparer.Ordinal);
}

/// <summary>Of one method.</summary>
internal sealed class MethodCount(string method, string kind)
{
    public const int Codes = 17;
    private readonly long[] _handled = new long[Codes];
    private long _started;

    public string Method => method;

    public string Kind => kind;

    public long Started => Interlocked.Read(ref _started);

    public long Handled(int code) => Interlocked.Read(ref _handled[code]);

    public void Start() => Interlocked.Increment(ref _started);

    public void End(StatusCode code) => Interlocked.Increment(ref _handled[Math.Clamp((int)code, 0, Codes - 1)]);
}

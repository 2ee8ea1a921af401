using System.Collections.Concurrent;
using System.Text;
using Grpc.Core;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// What is judged before a call reaches its service: a learner serves next to nothing, and who says <c>hasleader: true</c> is not served
/// when there has been no leader for an election timeout. Streams that said so end when there has been none for three. etcd: api/v3rpc/interceptor.go
/// </summary>
internal sealed class CallGate(ReplicaHost host, TimeSpan electionTimeout) : IAsyncDisposable
{
    /// <summary>The header in which a client says its version. etcd: rpctypes.MetadataClientAPIVersionKey</summary>
    public const string ClientVersion = "client-api-version";

    // How often in a row no leader was seen, an election timeout apart. Calls: a follower of etcd's believes for one to two timeouts in a
    // leader that is gone, one of ours for milliseconds. Just then its clients come here from the one that is gone, and etcd's end their
    // watches for good when they are told that there is no leader (clientv3: watch.go).
    private const int LooksThatRefuseCalls = 2;
    private const int LooksThatEndStreams = 3;
    private static readonly byte[] ClientVersionName = Encoding.ASCII.GetBytes(ClientVersion);

    // Range is judged by its service: a learner answers a serializable one.
    private static readonly HashSet<string> ServedByLearner =
        new(StringComparer.Ordinal) { "/etcdserverpb.KV/Range", "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot" };

    private readonly ConcurrentDictionary<GrpcCall, bool> _streams = new();
    private ITimer? _timer;
    private volatile int _withoutLeader;

    public void Start() => _timer = host.Time.CreateTimer(_ => Look(), null, electionTimeout, electionTimeout);

    /// <summary>Why the call is refused, or null.</summary>
    public Status? Judge(GrpcMethod method, Http2Stream stream) =>
        host.IsLearner && !ServedByLearner.Contains(method.FullName) ? StatusOf(EtcdError.NotSupportedForLearner(stream.Find(ClientVersionName)?.ValueText))
        : _withoutLeader >= LooksThatRefuseCalls && host.Replica.Raft.Leader.IsNone && WantsLeader(stream) ? StatusOf(EtcdError.NoLeader)
        : null;

    /// <summary>A call of a stream has begun.</summary>
    public void Begun(GrpcMethod method, GrpcCall call, Http2Stream stream)
    {
        if (method.IsStream && WantsLeader(stream))
        {
            _streams[call] = true;
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_timer is not null)
        {
            await _timer.DisposeAsync();
        }
    }

    private static bool WantsLeader(Http2Stream stream) => stream.Find("hasleader"u8)?.ValueText == "true";

    private static Status StatusOf(EtcdError error) => new(error.Code, error.Text);

    private void Look()
    {
        _withoutLeader = host.Replica.Raft.Leader.IsNone ? _withoutLeader + 1 : 0;
        foreach (GrpcCall call in _streams.Keys)
        {
            if (_withoutLeader >= LooksThatEndStreams)
            {
                call.Refuse(StatusOf(EtcdError.NoLeader));
            }

            if (call.IsOver)
            {
                _streams.TryRemove(call, out _);
            }
        }
    }
}

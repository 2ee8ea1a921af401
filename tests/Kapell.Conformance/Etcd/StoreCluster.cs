using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Several members of one store as child processes on free ports of the loopback; each can be killed, started again, or added.</summary>
internal sealed class StoreCluster : IDisposable
{
    private readonly StoreKind _kind;
    private readonly string[] _more;
    private readonly string _directory = StoreProcess.NewDirectory();
    private readonly List<Node> _nodes = [];

    private StoreCluster(StoreKind kind, string[] more) => (_kind, _more) = (kind, more);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public int Count => _nodes.Count;

    public static async Task<StoreCluster> StartAsync(StoreKind kind, int members, params string[] more)
    {
        if (kind == StoreKind.Upstream && Programs.Etcd is null)
        {
            Assert.Skip("etcd is not installed: apt-get install etcd-server");
        }

        StoreCluster cluster = new(kind, more);
        for (int i = 0; i < members; i++)
        {
            cluster._nodes.Add(new Node(i));
        }

        for (int i = 0; i < members; i++)
        {
            cluster.Start(i);
        }

        await cluster.UntilAsync("a leader is known everywhere", async () =>
        {
            for (int i = 0; i < members; i++)
            {
                if ((await cluster.StatusAsync(i)).Leader == 0)
                {
                    return false;
                }
            }

            return true;
        });
        return cluster;
    }

    public KV.KVClient Kv(int node) => new(_nodes[node].Channel);

    public Lease.LeaseClient Leases(int node) => new(_nodes[node].Channel);

    public Watch.WatchClient Watch(int node) => new(_nodes[node].Channel);

    public Cluster.ClusterClient Members(int node) => new(_nodes[node].Channel);

    public Maintenance.MaintenanceClient Maintenance(int node) => new(_nodes[node].Channel);

    public string Url(int node) => _nodes[node].Url;

    public string PeerUrl(int node) => _nodes[node].PeerUrl;

    public string Said(int node) => _nodes[node].Run?.Said ?? "";

    public async Task<int> ExitAsync(int node) => await _nodes[node].Run!.ExitAsync(Cancellation);

    public async Task<StatusResponse> StatusAsync(int node) =>
        await Maintenance(node).StatusAsync(new StatusRequest(), deadline: DateTime.UtcNow.AddSeconds(5), cancellationToken: Cancellation);

    /// <summary>The revision that it made.</summary>
    public async Task<long> PutAsync(int node, string key, string value) => (await Kv(node).PutAsync(
        new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(value) }, cancellationToken: Cancellation)).Header.Revision;

    public async Task<string?> GetAsync(int node, string key, bool serializable = false)
    {
        RangeResponse found = await Kv(node).RangeAsync(
            new RangeRequest { Key = ByteString.CopyFromUtf8(key), Serializable = serializable }, cancellationToken: Cancellation);
        return found.Kvs.Count == 0 ? null : found.Kvs[0].Value.ToStringUtf8();
    }

    /// <summary>Which member leads.</summary>
    public async Task<int> LeaderAsync()
    {
        int leader = -1;
        await UntilAsync("one of the members leads", async () =>
        {
            for (int i = 0; i < _nodes.Count; i++)
            {
                StatusResponse? status = _nodes[i].Run is null ? null : await StatusAsync(i);
                if (status is not null && status.Leader != 0 && status.Leader == status.Header.MemberId)
                {
                    leader = i;
                    return true;
                }
            }

            return false;
        });
        return leader;
    }

    /// <summary>All running members have the same content.</summary>
    public async Task ConvergesAsync() => await UntilAsync("all members have the same content", async () =>
    {
        HashSet<(uint Hash, long Revision)> seen = [];
        for (int i = 0; i < _nodes.Count; i++)
        {
            if (_nodes[i].Run is not null)
            {
                HashKVResponse hash = await Maintenance(i).HashKVAsync(new HashKVRequest(), cancellationToken: Cancellation);
                seen.Add((hash.Hash, hash.Header.Revision));
            }
        }

        return seen.Count == 1;
    });

    public void Kill(int node)
    {
        _nodes[node].Run?.Dispose();
        _nodes[node].Run = null;
    }

    public void Freeze(int node) => _nodes[node].Run?.Freeze();

    public void Wipe(int node) => Directory.Delete(DataOf(node), recursive: true);

    /// <summary>A further node, to be started when the cluster has been told of it.</summary>
    public int Add()
    {
        _nodes.Add(new Node(_nodes.Count));
        return _nodes.Count - 1;
    }

    /// <summary>Joins a cluster that has only this one other member.</summary>
    public void StartJoining(int node, int other) => Start(node, [.. _nodes.Where(n => n.Index == node || n.Index == other)], "existing", []);

    public void Start(int node, string state = "new", params string[] more) =>
        Start(node, [.. _nodes.Where(n => n.Index <= node || state == "new")], state, more);

    private void Start(int node, Node[] members, string state, string[] more)
    {
        Node started = _nodes[node];
        string cluster = string.Join(',', members.Select(static n => $"n{n.Index}={n.PeerUrl}"));
        List<string> args =
        [
            "--name", $"n{node}", "--data-dir", DataOf(node), "--listen-client-urls", started.Url, "--advertise-client-urls", started.Url,
            "--listen-peer-urls", started.PeerUrl, "--initial-advertise-peer-urls", started.PeerUrl, "--initial-cluster", cluster,
            "--initial-cluster-state", state, .. _more, .. more,
        ];
        if (_kind == StoreKind.Kapell)
        {
            args.Insert(0, "etcd");
        }
        else
        {
            args.AddRange(["--logger", "zap", "--log-level", "error"]);
        }

        started.Run = ProgramRun.Start(_kind == StoreKind.Kapell ? Programs.Kapell : Programs.Etcd!, args);
    }

    /// <summary>Tries until it is so; a member that does not answer counts as not yet.</summary>
    public async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(60));
        using PeriodicTimer pace = new(TimeSpan.FromMilliseconds(50));
        string last = "";
        while (true)
        {
            try
            {
                if (await condition())
                {
                    return;
                }
            }
            catch (RpcException e)
            {
                last = e.Status.Detail;
            }

            try
            {
                await pace.WaitForNextTickAsync(late.Token);
            }
            catch (OperationCanceledException)
            {
                string said = string.Join("\n", _nodes.Select(n => $"== n{n.Index}\n" + (n.Run?.Said is { } s ? s[Math.Max(0, s.Length - 1500)..] : "not running")));
                Assert.Fail($"not within a minute: {what}; {last}\n{said}");
            }
        }
    }

    public void Dispose()
    {
        foreach (Node node in _nodes)
        {
            node.Run?.Dispose();
            node.Channel.Dispose();
        }

        Directory.Delete(_directory, recursive: true);
    }

    public string DataOf(int node) => Path.Combine(_directory, "n" + node.ToString(CultureInfo.InvariantCulture));

    private sealed class Node
    {
        public Node(int index)
        {
            Index = index;
            Url = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePorts.Next()}");
            PeerUrl = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{FreePorts.Next()}");
            Channel = GrpcChannel.ForAddress(Url, new GrpcChannelOptions { HttpHandler = new SocketsHttpHandler { UseProxy = false }, DisposeHttpClient = true });
        }

        public int Index { get; }

        public string Url { get; }

        public string PeerUrl { get; }

        public GrpcChannel Channel { get; }

        public ProgramRun? Run { get; set; }
    }
}

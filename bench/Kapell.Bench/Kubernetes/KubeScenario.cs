using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Machinery;

namespace Kapell.Bench.Kubernetes;

internal enum KubeOperation
{
    Create,
    Get,
    List,
    Patch,
}

/// <summary>ConfigMaps in a namespace of their own, which is deleted at the end.</summary>
internal sealed class KubeScenario(string target, BenchOptions options, KubeOperation operation) : IScenario
{
    private readonly KubeObjects _kube = new(target, options);

    public LatencyRecorder? Deliveries => null;

    public Task PrepareAsync(CancellationToken cancellation) => _kube.FillAsync(
        operation switch
        {
            KubeOperation.Create => 0,
            KubeOperation.List => options.RangeLimit.Value,
            _ => options.Keys.Value,
        },
        cancellation);

    public Task RunAsync(int client, long number, CancellationToken cancellation) => operation switch
    {
        KubeOperation.Create => _kube.CreateAsync(client, "c" + number, cancellation),
        KubeOperation.Get => _kube.For(client).GetAsync(Resources.ConfigMaps, _kube.Key(number), cancellation),
        KubeOperation.List => _kube.For(client).ListPageAsync(
            Resources.ConfigMaps, _kube.Namespace, new ListOptions { Limit = options.RangeLimit.Value }, cancellation),
        _ => _kube.PatchAsync(client, number, new string('p', 8), cancellation),
    };

    public ValueTask DisposeAsync() => _kube.DisposeAsync();
}

/// <summary>The namespace, its ConfigMaps, and a client for each connection.</summary>
internal sealed class KubeObjects : IAsyncDisposable
{
    private readonly KubeClient[] _clients;
    private readonly int _keys;
    private readonly string _value;
    private bool _created;

    public KubeObjects(string kubeconfig, BenchOptions options)
    {
        RestConfig config = Kubeconfig.LoadRestConfig(kubeconfig).WithUserAgent("kapell-bench");
        _clients = [.. Enumerable.Range(0, options.Connections.Value).Select(_ => new KubeClient(config, TimeProvider.System))];
        _keys = options.Keys.Value;
        _value = new string('v', options.ValueSize.Value);
        Namespace = $"bench-{Environment.ProcessId}";
    }

    public string Namespace { get; }

    public KubeClient For(int client) => _clients[client % _clients.Length];

    public ObjectKey Key(long number) => new(Namespace, "o" + (number % _keys));

    public async Task FillAsync(int count, CancellationToken cancellation)
    {
        JsonObject ns = new() { ["apiVersion"] = "v1", ["kind"] = "Namespace", ["metadata"] = new JsonObject { ["name"] = Namespace } };
        await _clients[0].CreateAsync(Resources.Namespaces, "", ns, cancellation);
        _created = true;
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = 16, CancellationToken = cancellation };
        await Parallel.ForAsync(0, count, parallel, async (i, token) => await CreateAsync(i, "o" + i, token));
    }

    public Task CreateAsync(int client, string name, CancellationToken cancellation)
    {
        JsonObject body = new()
        {
            ["apiVersion"] = "v1",
            ["kind"] = "ConfigMap",
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = Namespace },
            ["data"] = new JsonObject { ["value"] = _value },
        };
        return For(client).CreateAsync(Resources.ConfigMaps, Namespace, body, cancellation);
    }

    public Task PatchAsync(int client, long number, string stamp, CancellationToken cancellation)
    {
        JsonObject patch = new() { ["data"] = new JsonObject { ["stamp"] = stamp, ["number"] = number.ToString() } };
        return For(client).PatchAsync(Resources.ConfigMaps, Key(number), PatchKind.Merge, patch, cancellation);
    }

    public async ValueTask DisposeAsync()
    {
        if (_created)
        {
            await _clients[0].DeleteAsync(Resources.Namespaces, new ObjectKey("", Namespace), DeleteOptions.None, CancellationToken.None);
        }

        foreach (KubeClient client in _clients)
        {
            client.Dispose();
        }
    }
}

using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Client.Informers;
using Kapell.Machinery;

namespace Kapell.Kubelet.Runtime;

/// <summary>What pods refer to: configMaps, secrets, tokens, services. Null when there is no such object.</summary>
internal interface IObjectSource
{
    Task<KubeObject?> GetAsync(GroupVersionResource resource, string ns, string name, CancellationToken cancellation);

    Task<JsonObject> TokenAsync(string ns, string serviceAccount, JsonObject request, CancellationToken cancellation);

    /// <summary>All services; waits until they have been read once, for a container's environment cannot be put right later.</summary>
    Task<IReadOnlyList<KubeObject>> ServicesAsync(CancellationToken cancellation);
}

/// <summary>
/// Reads the API server, remembering each object for a short while so that the containers of a pod, and pods of one Deployment, ask
/// once. Old answers serve when the server is away: a running pod must not lose its volumes to an outage.
/// </summary>
internal sealed class ApiObjectSource(KubeClient client, Informer services, TimeProvider time) : IObjectSource
{
    private static readonly TimeSpan FreshFor = TimeSpan.FromSeconds(2);
    private const int EntriesMax = 2000;
    private readonly ConcurrentDictionary<(GroupVersionResource, string, string), (KubeObject? Object, DateTimeOffset At)> _cache = new();

    public async Task<IReadOnlyList<KubeObject>> ServicesAsync(CancellationToken cancellation)
    {
        await services.WaitForSyncAsync(cancellation);
        return services.List();
    }

    public async Task<KubeObject?> GetAsync(GroupVersionResource resource, string ns, string name, CancellationToken cancellation)
    {
        (GroupVersionResource, string, string) key = (resource, ns, name);
        bool known = _cache.TryGetValue(key, out (KubeObject? Object, DateTimeOffset At) entry);
        if (known && time.GetUtcNow() - entry.At < FreshFor)
        {
            return entry.Object;
        }

        KubeObject? found;
        try
        {
            found = await client.GetAsync(resource, new ObjectKey(ns, name), cancellation);
        }
        catch (StatusException e) when (e.IsNotFound)
        {
            found = null;
        }
        catch (Exception e) when (known && e is HttpRequestException or TimeoutException)
        {
            return entry.Object;
        }

        if (_cache.Count > EntriesMax)
        {
            _cache.Clear();
        }

        _cache[key] = (found, time.GetUtcNow());
        return found;
    }

    public async Task<JsonObject> TokenAsync(string ns, string serviceAccount, JsonObject request, CancellationToken cancellation)
    {
        KubeObject answer = await client.CreateAsync(
            Resources.ServiceAccounts, new ObjectKey(ns, serviceAccount), request, RequestOptions.For("token"), cancellation);
        return answer.ToNode();
    }
}

/// <summary>Without an API server there are no objects: static pods must not refer to any.</summary>
internal sealed class NoObjects : IObjectSource
{
    public Task<IReadOnlyList<KubeObject>> ServicesAsync(CancellationToken cancellation) => Task.FromResult<IReadOnlyList<KubeObject>>([]);

    public Task<KubeObject?> GetAsync(GroupVersionResource resource, string ns, string name, CancellationToken cancellation) =>
        Task.FromResult<KubeObject?>(null);

    public Task<JsonObject> TokenAsync(string ns, string serviceAccount, JsonObject request, CancellationToken cancellation) =>
        throw new StatusException(Status.ServiceUnavailable("this kubelet runs without an API server"));
}

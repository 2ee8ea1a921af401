using System.Globalization;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Both programs, started when the first test asks for them and shared by all tests, which keep to prefixes of their own.</summary>
public sealed class StorePair : IDisposable
{
    private readonly Dictionary<StoreKind, StoreClient> _clients = [];
    private ProxyProcess? _proxy;
    private int _prefixes;

    public static TheoryData<StoreKind> Both => [StoreKind.Kapell, StoreKind.Upstream];

    /// <summary>And Kapell through a proxy, for what a proxy passes on.</summary>
    public static TheoryData<StoreKind> All => [StoreKind.Kapell, StoreKind.Upstream, StoreKind.Proxied];

    internal async Task<StoreClient> ClientAsync(StoreKind kind)
    {
        // Tests run one after another: nobody else starts one meanwhile.
        if (!_clients.TryGetValue(kind, out StoreClient? client))
        {
            CancellationToken cancellation = TestContext.Current.CancellationToken;
            StoreProcess store = await StoreProcess.StartAsync(kind == StoreKind.Proxied ? StoreKind.Kapell : kind, cancellation);
            _proxy = kind == StoreKind.Proxied ? await ProxyProcess.StartAsync(store.Url, cancellation) : _proxy;
            client = new StoreClient(store, kind == StoreKind.Proxied ? _proxy!.Url : store.Url);
            _clients[kind] = client;
        }

        client.Prefix = string.Create(CultureInfo.InvariantCulture, $"t{++_prefixes}/");
        return client;
    }

    public void Dispose()
    {
        _proxy?.Dispose();
        foreach (StoreClient client in _clients.Values)
        {
            client.Dispose();
        }
    }
}

using System.Globalization;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Both programs, started when the first test asks for them and shared by all tests, which keep to prefixes of their own.</summary>
public sealed class StorePair : IDisposable
{
    private readonly Dictionary<StoreKind, StoreClient> _clients = [];
    private int _prefixes;

    public static TheoryData<StoreKind> Both => [StoreKind.Kapell, StoreKind.Upstream];

    internal async Task<StoreClient> ClientAsync(StoreKind kind)
    {
        // Tests run one after another: nobody else starts one meanwhile.
        if (!_clients.TryGetValue(kind, out StoreClient? client))
        {
            client = new StoreClient(await StoreProcess.StartAsync(kind, TestContext.Current.CancellationToken));
            _clients[kind] = client;
        }

        client.Prefix = string.Create(CultureInfo.InvariantCulture, $"t{++_prefixes}/");
        return client;
    }

    public void Dispose()
    {
        foreach (StoreClient client in _clients.Values)
        {
            client.Dispose();
        }
    }
}

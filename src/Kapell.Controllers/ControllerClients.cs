using Kapell.Client;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers;

/// <summary>One client for each controller, named by its user agent as upstream's SimpleControllerClientBuilder does.</summary>
internal sealed class ControllerClients(RestConfig config, TimeProvider time, ILoggerFactory logs) : IDisposable
{
    private readonly HttpMessageHandler _shared = KubeClient.OpenTransport(config);
    private readonly Dictionary<string, KubeClient> _clients = new(StringComparer.Ordinal);

    public KubeClient For(string name)
    {
        lock (_clients)
        {
            if (!_clients.TryGetValue(name, out KubeClient? client))
            {
                client = new KubeClient(config.WithUserAgent($"{config.UserAgent}/{name}"), _shared, time, logs);
                _clients.Add(name, client);
            }

            return client;
        }
    }

    public void Dispose() => _shared.Dispose();
}

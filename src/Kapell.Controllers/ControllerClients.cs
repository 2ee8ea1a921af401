using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Controllers.Shared;
using Kapell.Machinery;
using Microsoft.Extensions.Logging;

namespace Kapell.Controllers;

/// <summary>
/// One client for each controller. Without service accounts all use the kubeconfig's credentials and differ in user agent
/// (SimpleControllerClientBuilder); with them each is kube-system/NAME with a short token of its own that is renewed before it runs out
/// (DynamicControllerClientBuilder), so that RBAC gives each what it needs and no more.
/// </summary>
internal sealed class ControllerClients(RestConfig config, bool serviceAccounts, TimeProvider time, ILoggerFactory logs) : IDisposable
{
    private const string AccountNamespace = "kube-system";
    private const int TokenSeconds = 3600;
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(500);
    private readonly HttpMessageHandler _rootTransport = KubeClient.OpenTransport(config);
    private readonly HttpMessageHandler _accountTransport = KubeClient.OpenTransport(config with { ClientCertificate = null });
    private readonly ConcurrentDictionary<string, string> _tokens = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, KubeClient> _clients = new(StringComparer.Ordinal);
    private readonly ILogger _log = logs.CreateLogger("Kapell.Controllers.Clients");

    /// <summary>With the kubeconfig's own credentials: leader election and shared caches.</summary>
    public KubeClient Root(string name) =>
        _clients.GetOrAdd("root/" + name, _ => new KubeClient(config.WithUserAgent($"{config.UserAgent}/{name}"), _rootTransport, time, logs));

    /// <summary>The controller's own; usable once <see cref="PrepareAsync"/> has ended.</summary>
    public KubeClient For(string name)
    {
        if (!serviceAccounts)
        {
            return Root(name);
        }

        return _clients.GetOrAdd(name, _ =>
        {
            _tokens.TryAdd(name, "");
            RestConfig own = config.WithUserAgent($"{config.UserAgent}/system:serviceaccount:{AccountNamespace}:{name}") with
            {
                ClientCertificate = null, Username = "", Password = "", BearerTokenFile = "", BearerToken = "", BearerTokenSource = () => _tokens[name],
            };
            return new KubeClient(own, _accountTransport, time, logs);
        });
    }

    /// <summary>Gets the first token of every client handed out so far.</summary>
    public async Task PrepareAsync(CancellationToken cancellation)
    {
        foreach (string name in _tokens.Keys)
        {
            await TokenAsync(name, cancellation);
        }
    }

    /// <summary>Renews tokens until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        while (true)
        {
            await Task.Delay(TimeSpan.FromSeconds(TokenSeconds * 0.6), time, cancellation);
            await PrepareAsync(cancellation);
        }
    }

    public void Dispose()
    {
        foreach (KubeClient client in _clients.Values)
        {
            client.Dispose();
        }

        _rootTransport.Dispose();
        _accountTransport.Dispose();
    }

    private async Task TokenAsync(string name, CancellationToken cancellation)
    {
        KubeClient root = Root("tokens");
        ObjectKey key = new(AccountNamespace, name);
        while (true)
        {
            try
            {
                JsonObject request = new()
                {
                    ["apiVersion"] = "authentication.k8s.io/v1", ["kind"] = "TokenRequest", ["spec"] = new JsonObject { ["expirationSeconds"] = TokenSeconds },
                };
                KubeObject answer = await root.CreateAsync(Resources.ServiceAccounts, key, request, RequestOptions.For("token"), cancellation);
                _tokens[name] = answer.Status.Text("token");
                return;
            }
            catch (StatusException e) when (e.IsNotFound)
            {
                await CreateAccountAsync(root, key, cancellation);
            }
            catch (Exception e) when (e is StatusException or HttpRequestException or IOException or TimeoutException or JsonException)
            {
                Log.Trouble(_log, name, "no token yet, trying again: " + e.Message);
                await Task.Delay(RetryPause, time, cancellation);
            }
        }
    }

    private async Task CreateAccountAsync(KubeClient root, ObjectKey key, CancellationToken cancellation)
    {
        JsonObject account = new()
        {
            ["apiVersion"] = "v1", ["kind"] = "ServiceAccount", ["metadata"] = new JsonObject { ["name"] = key.Name, ["namespace"] = key.Namespace },
        };
        try
        {
            await root.CreateAsync(Resources.ServiceAccounts, key.Namespace, account, cancellation);
        }
        catch (StatusException e) when (e.IsAlreadyExists)
        {
            // Made by another candidate for leadership.
        }
        catch (StatusException e)
        {
            // The namespace kube-system may not be there yet on a new cluster.
            Log.Trouble(_log, key.Name, "its service account could not be made yet: " + e.Message);
            await Task.Delay(RetryPause, time, cancellation);
        }
    }
}

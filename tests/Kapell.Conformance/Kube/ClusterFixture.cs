using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kapell.Conformance.Etcd;
using Kapell.Etcd.Client;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>A store and our API server over it, as processes of their own, and clients for several users.</summary>
public abstract class ClusterFixture : IAsyncLifetime
{
    private const int StartAttempts = 3;
    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(60);
    private readonly Certificates _certificates = new();
    private readonly string _directory = Directory.CreateTempSubdirectory("kapell-conformance-").FullName;
    private readonly List<ApiClient> _clients = [];
    private readonly List<ServerProcess> _servers = [];
    private X509Certificate2? _authority;
    private ServerProcess? _store;
    private Uri? _uri;
    private int _storePort;
    private int _names;

    /// <summary>A member of system:masters.</summary>
    internal ApiClient Admin { get; private set; } = null!;

    /// <summary>Nobody in particular: authenticated, without any binding.</summary>
    internal ApiClient Alice { get; private set; } = null!;

    /// <summary>Without a certificate.</summary>
    internal ApiClient Anonymous { get; private set; } = null!;

    /// <summary>A namespace of the caller's own.</summary>
    public async Task<string> NewNamespace()
    {
        string name = $"t{Interlocked.Increment(ref _names)}";
        (await Admin.Post("/api/v1/namespaces", $$$"""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"{{{name}}}"}}""")).Is(201);
        (await Admin.Post($"/api/v1/namespaces/{name}/serviceaccounts",
            """{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default"}}""")).Is(201);
        return name;
    }

    /// <summary>Makes the store forget everything before its current revision, which is returned.</summary>
    internal async Task<long> CompactStore()
    {
        await using EtcdClient client = new(new EtcdClientOptions { Endpoints = [$"http://127.0.0.1:{_storePort}"] }, TimeProvider.System);
        long revision = (await client.RangeAsync(new EtcdRange("/none"u8.ToArray()), CancellationToken.None)).Revision;
        await client.CompactAsync(revision, CancellationToken.None);
        return revision;
    }

    public async ValueTask InitializeAsync()
    {
        _authority = X509Certificate2.CreateFromPem(_certificates.AuthorityPem);
        WriteFiles();
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                await StartAsync();
                return;
            }
            catch (InvalidOperationException) when (attempt < StartAttempts)
            {
                // Somebody took the port between choosing and using it.
                await StopAsync();
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _certificates.Dispose();
        _authority?.Dispose();
        Directory.Delete(_directory, recursive: true);
        GC.SuppressFinalize(this);
    }

    internal ApiClient As(string user, params string[] groups)
    {
        ApiClient client = new(_uri!, _certificates.Client(user, groups), _authority!);
        _clients.Add(client);
        return client;
    }

    /// <summary>Starts the store on a client port with its data in a directory.</summary>
    private protected abstract ServerProcess StartStore(string directory, int port, int peerPort);

    private async Task StartAsync()
    {
        _storePort = FreePorts.Next();
        _store = StartStore(Directory.CreateDirectory(Path.Combine(_directory, $"store-{_storePort}")).FullName, _storePort, FreePorts.Next());
        _uri = StartServer();
        Admin = As("admin", "system:masters");
        Alice = As("alice", "staff");
        Anonymous = new ApiClient(_uri, null, _authority!);
        _clients.Add(Anonymous);
        await UntilReady(Admin);
    }

    /// <summary>One more API server over the same store, started now; a client of a member of system:masters.</summary>
    internal async Task<ApiClient> SecondServer()
    {
        ApiClient client = new(StartServer(), _certificates.Client("admin", "system:masters"), _authority!);
        _clients.Add(client);
        await UntilReady(client);
        return client;
    }

    private Uri StartServer()
    {
        int port = FreePorts.Next();
        _servers.Add(ServerProcess.Start(Programs.Kapell, _directory,
            "apiserver", $"--etcd-servers=http://127.0.0.1:{_storePort}", $"--secure-port={port}", "--bind-address=127.0.0.1",
            "--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=ca.crt", "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa.pub", "--service-account-signing-key-file=sa.key", "--etcd-compaction-interval=0"));
        return new Uri($"https://127.0.0.1:{port}");
    }

    private async Task UntilReady(ApiClient client)
    {
        using CancellationTokenSource late = new(StartPatience);
        while (!await IsReady(client))
        {
            if (_store!.HasExited || _servers.Any(s => s.HasExited) || late.IsCancellationRequested)
            {
                throw new InvalidOperationException($"not ready.\nstore: {_store.Said}\napiserver: {string.Join('\n', _servers.Select(s => s.Said))}");
            }

            using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(50));
            await pause.WaitForNextTickAsync(CancellationToken.None);
        }
    }

    private static async Task<bool> IsReady(ApiClient client)
    {
        try
        {
            return (await client.Get("/readyz")).Code == 200;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private async Task StopAsync()
    {
        _clients.ForEach(c => c.Dispose());
        _clients.Clear();
        foreach (ServerProcess server in _servers)
        {
            await server.DisposeAsync();
        }

        _servers.Clear();
        await (_store?.DisposeAsync() ?? ValueTask.CompletedTask);
        _store = null;
    }

    private void WriteFiles()
    {
        (string certificate, string key) = _certificates.Serving();
        using RSA tokens = RSA.Create(2048);
        foreach ((string name, string text) in (ReadOnlySpan<(string, string)>)
            [("ca.crt", _certificates.AuthorityPem), ("server.crt", certificate), ("server.key", key),
                ("sa.key", tokens.ExportPkcs8PrivateKeyPem()), ("sa.pub", tokens.ExportSubjectPublicKeyInfoPem())])
        {
            File.WriteAllText(Path.Combine(_directory, name), text);
        }
    }
}

/// <summary>Over our own store.</summary>
public sealed class KapellStore : ClusterFixture
{
    private protected override ServerProcess StartStore(string directory, int port, int peerPort) => ServerProcess.Start(
        Programs.Kapell, directory, "etcd", "--name=s1", $"--data-dir={directory}/data", $"--listen-client-urls=http://127.0.0.1:{port}",
        $"--advertise-client-urls=http://127.0.0.1:{port}", $"--listen-peer-urls=http://127.0.0.1:{peerPort}",
        $"--initial-advertise-peer-urls=http://127.0.0.1:{peerPort}", $"--initial-cluster=s1=http://127.0.0.1:{peerPort}");
}

/// <summary>Over upstream's store.</summary>
public sealed class UpstreamStore : ClusterFixture
{
    private protected override ServerProcess StartStore(string directory, int port, int peerPort) => ServerProcess.Start(
        Environment.GetEnvironmentVariable("ETCD_PROGRAM") is { Length: > 0 } named ? named : "etcd", directory,
        "--name=s1", $"--data-dir={directory}/data", $"--listen-client-urls=http://127.0.0.1:{port}",
        $"--advertise-client-urls=http://127.0.0.1:{port}", $"--listen-peer-urls=http://127.0.0.1:{peerPort}",
        $"--initial-advertise-peer-urls=http://127.0.0.1:{peerPort}", $"--initial-cluster=s1=http://127.0.0.1:{peerPort}", "--logger=zap");
}

/// <summary>All bodies over one store share its processes.</summary>
[CollectionDefinition("kube on kapell")]
public sealed class KapellStoreCollection : ICollectionFixture<KapellStore>;

/// <summary>The same bodies over upstream's.</summary>
[CollectionDefinition("kube on etcd")]
public sealed class UpstreamStoreCollection : ICollectionFixture<UpstreamStore>;

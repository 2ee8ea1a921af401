using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client;

/// <summary>One channel an endpoint, and which of them is used now.</summary>
internal sealed class EtcdConnections : IDisposable
{
    private readonly Connection[] _all;
    private int _current;

    public EtcdConnections(EtcdClientOptions options)
    {
        if (options.Endpoints.Count == 0)
        {
            throw new ArgumentException("no etcd endpoint is given");
        }

        _all = [.. options.Endpoints.Select(e => Connection.Open(e, options))];
    }

    public int Count => _all.Length;

    public Connection Current => _all[Volatile.Read(ref _current)];

    /// <summary>The next endpoint, unless another caller has moved on already.</summary>
    public void LeaveFailed(Connection failed)
    {
        int at = Array.IndexOf(_all, failed);
        Interlocked.CompareExchange(ref _current, (at + 1) % _all.Length, at);
    }

    public void Dispose()
    {
        foreach (Connection one in _all)
        {
            one.Channel.Dispose();
        }
    }

    internal sealed record Connection(GrpcChannel Channel, KV.KVClient Kv, Watch.WatchClient Watch, Lease.LeaseClient Lease)
    {
        public static Connection Open(string endpoint, EtcdClientOptions options)
        {
            SocketsHttpHandler handler = new()
            {
                ConnectTimeout = options.DialTimeout,
                EnableMultipleHttp2Connections = true,
                KeepAlivePingDelay = TimeSpan.FromSeconds(30),
                KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
                PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
                InitialHttp2StreamWindowSize = 1 << 20,
                UseProxy = false,
                SslOptions = Tls(options),
            };
            GrpcChannel channel = GrpcChannel.ForAddress(
                endpoint.Contains("://", StringComparison.Ordinal) ? endpoint : "http://" + endpoint,
                new GrpcChannelOptions
                {
                    HttpHandler = handler,
                    DisposeHttpClient = true,
                    // A list of everything may be large; what bounds it is the caller's limit.
                    MaxReceiveMessageSize = null,
                    MaxSendMessageSize = 16 << 20,
                    MaxRetryAttempts = null,
                });
            return new(channel, new KV.KVClient(channel), new Watch.WatchClient(channel), new Lease.LeaseClient(channel));
        }

        private static SslClientAuthenticationOptions Tls(EtcdClientOptions options)
        {
            SslClientAuthenticationOptions ssl = new();
            if (options.CaFile.Length > 0)
            {
                X509ChainPolicy policy = new()
                {
                    TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true,
                };
                policy.CustomTrustStore.ImportFromPemFile(options.CaFile);
                ssl.CertificateChainPolicy = policy;
            }

            if (options.CertFile.Length > 0)
            {
                X509Certificate2 certificate = X509Certificate2.CreateFromPemFile(options.CertFile, options.KeyFile);
                X509Certificate2Collection chain = [];
                chain.ImportFromPemFile(options.CertFile);
                ssl.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, chain, offline: true);
            }

            return ssl;
        }
    }
}

using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Subresources;

/// <summary>Where a kubelet (or another back end) listens.</summary>
internal sealed record ProxyTarget(string Scheme, string Host, int Port, bool IsKubelet)
{
    public string Authority => (Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]" : Host) + ":" + Port;
}

/// <summary>
/// Connections to kubelets: mutual TLS with --kubelet-client-certificate, the server's certificate checked against
/// --kubelet-certificate-authority (not at all without one, as upstream).
/// </summary>
internal sealed class KubeletTransport : IDisposable
{
    private const int KubeletPortDefault = 10250;
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly ServerOptions _options;
    private readonly Lazy<X509Certificate2?> _client;
    private readonly Lazy<X509Certificate2Collection?> _authorities;
    private readonly HttpMessageInvoker _kubelet;
    private readonly HttpMessageInvoker _secure;
    private readonly HttpMessageInvoker _plain;

    public KubeletTransport(ServerOptions options)
    {
        _options = options;
        _client = new Lazy<X509Certificate2?>(() => options.KubeletClientCertificate.Length == 0
            ? null
            : X509Certificate2.CreateFromPemFile(options.KubeletClientCertificate, options.KubeletClientKey));
        _authorities = new Lazy<X509Certificate2Collection?>(LoadAuthorities);
        _kubelet = Invoker(secure: true, kubelet: true);
        _secure = Invoker(secure: true, kubelet: false);
        _plain = Invoker(secure: false, kubelet: false);
    }

    /// <summary>Sends a request whose answer is streamed. TLS is done by the connection, since a pod's certificate is not checked while a kubelet's is.</summary>
    public Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, ProxyTarget target, CancellationToken cancel)
    {
        HttpMessageInvoker invoker = target.IsKubelet ? _kubelet : target.Scheme == "https" ? _secure : _plain;
        return invoker.SendAsync(request, cancel);
    }

    /// <summary>Where the node's kubelet listens, by --kubelet-preferred-address-types and the node's status.</summary>
    public ProxyTarget TargetOf(KubeObject node)
    {
        int port = (int)node.Status.Get("daemonEndpoints", "kubeletEndpoint").Long("Port", KubeletPortDefault);
        foreach (string type in _options.KubeletPreferredAddressTypes)
        {
            foreach (System.Text.Json.JsonElement address in node.Status.Items("addresses"))
            {
                if (address.Text("type") == type && address.Text("address").Length > 0)
                {
                    return new ProxyTarget("https", address.Text("address"), port == 0 ? KubeletPortDefault : port, IsKubelet: true);
                }
            }
        }

        throw new StatusException(Status.InternalError(
            $"no preferred addresses found; known addresses: [{string.Join(' ', node.Status.Items("addresses").Select(a => $"{{{a.Text("type")} {a.Text("address")}}}"))}]"));
    }

    public async Task<Stream> ConnectAsync(string host, int port, bool secure, bool kubelet, CancellationToken cancel)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        Stream? stream = null;
        try
        {
            await socket.ConnectAsync(host, port, cancel);
            stream = new NetworkStream(socket, ownsSocket: true);
            if (!secure)
            {
                return stream;
            }

            SslStream tls = new(stream, leaveInnerStreamOpen: false);
            stream = tls;
            await tls.AuthenticateAsClientAsync(TlsOptions(host, kubelet), cancel);
            return tls;
        }
        catch
        {
            if (stream is not null)
            {
                await stream.DisposeAsync();
            }

            socket.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        _kubelet.Dispose();
        _secure.Dispose();
        _plain.Dispose();
        if (_client.IsValueCreated)
        {
            _client.Value?.Dispose();
        }
    }

    private HttpMessageInvoker Invoker(bool secure, bool kubelet) => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        AutomaticDecompression = DecompressionMethods.None,
        UseProxy = false,
        UseCookies = false,
        ConnectTimeout = ConnectTimeout,
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(60),
        ConnectCallback = async (context, cancel) =>
            await ConnectAsync(context.DnsEndPoint.Host, context.DnsEndPoint.Port, secure, kubelet, cancel),
    });

    private SslClientAuthenticationOptions TlsOptions(string host, bool kubelet)
    {
        SslClientAuthenticationOptions options = new() { TargetHost = host, ApplicationProtocols = [SslApplicationProtocol.Http11] };
        if (kubelet && _client.Value is { } certificate)
        {
            options.ClientCertificates = [certificate];
            options.LocalCertificateSelectionCallback = (_, _, _, _, _) => certificate;
        }

        if (kubelet && _authorities.Value is { } authorities)
        {
            options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck,
            };
            options.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        }
        else
        {
            // Upstream: without a certificate authority for kubelets, and for pods and services, the peer is not verified.
#pragma warning disable CA5359 // The operator chose so by leaving the flag out; upstream behaves the same.
            options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
#pragma warning restore CA5359
        }

        return options;
    }

    private X509Certificate2Collection? LoadAuthorities()
    {
        if (_options.KubeletCertificateAuthority.Length == 0)
        {
            return null;
        }

        X509Certificate2Collection all = [];
        all.ImportFromPemFile(_options.KubeletCertificateAuthority);
        return all;
    }
}

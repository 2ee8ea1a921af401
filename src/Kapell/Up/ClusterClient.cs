using System.Net.Http.Json;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;

namespace Kapell.Cli.Up;

/// <summary>The few questions that <c>up</c> and <c>status</c> ask the running parts, with a certificate of the cluster.</summary>
internal sealed class ClusterClient : IDisposable
{
    private readonly HttpClient _http;

    /// <param name="authority">Name of the authority's file in DIR/pki without ending.</param>
    /// <param name="certificate">Name of the client certificate's file in DIR/pki without ending.</param>
    public ClusterClient(ClusterLayout layout, string authority, string certificate, int port)
    {
        X509Certificate2 trusted = X509Certificate2.CreateFromPem(File.ReadAllText(layout.PkiFile(authority + ".crt")));
        using X509Certificate2 pem = X509Certificate2.CreateFromPemFile(layout.PkiFile(certificate + ".crt"), layout.PkiFile(certificate + ".key"));
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificates = [new X509Certificate2(pem)],
                CertificateChainPolicy = new X509ChainPolicy
                {
                    TrustMode = X509ChainTrustMode.CustomRootTrust, CustomTrustStore = { trusted },
                    RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true,
                },
            },
        };
        _http = new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{port}"), Timeout = TimeSpan.FromSeconds(5) };
    }

    /// <summary>True when the path answers with success; the text says what else it said.</summary>
    public async Task<(bool Good, string Text)> TryGetAsync(string path, CancellationToken stopping)
    {
        try
        {
            using HttpResponseMessage response = await _http.GetAsync(new Uri(path, UriKind.Relative), stopping);
            return (response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(stopping));
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !stopping.IsCancellationRequested))
        {
            return (false, e.GetBaseException().Message);
        }
    }

    public async Task<JsonNode?> TryReadAsync(string path, CancellationToken stopping)
    {
        (bool good, string text) = await TryGetAsync(path, stopping);
        return good ? JsonNode.Parse(text) : null;
    }

    public void Dispose() => _http.Dispose();
}

using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Kapell.ApiServer.Http;

/// <summary>The serving certificate and what client certificates must be.</summary>
internal sealed class ServingTls
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private readonly X509Certificate2Collection _clientCas = [];
    private readonly X509Certificate2 _certificate;
    private readonly X509Certificate2Collection _chain = [];

    public ServingTls(ServerOptions options, TimeProvider time)
    {
        foreach (string file in (ReadOnlySpan<string>)[options.ClientCaFile, options.RequestHeaderClientCaFile])
        {
            if (file.Length > 0)
            {
                _clientCas.ImportFromPemFile(file);
            }
        }

        (string certFile, string keyFile) = (options.TlsCertFile, options.TlsPrivateKeyFile);
        if (certFile.Length == 0)
        {
            (certFile, keyFile) = SelfSigned(options, time);
        }

        _certificate = X509Certificate2.CreateFromPemFile(certFile, keyFile);
        _chain.ImportFromPemFile(certFile);
    }

    public void Configure(HttpsConnectionAdapterOptions https)
    {
        https.ServerCertificate = _certificate;
        https.ServerCertificateChain = _chain;
        https.SslProtocols = System.Security.Authentication.SslProtocols.Tls12 | System.Security.Authentication.SslProtocols.Tls13;
        https.HandshakeTimeout = TimeSpan.FromSeconds(10);
        https.CheckCertificateRevocation = false;
        if (_clientCas.Count > 0)
        {
            https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
            https.ClientCertificateValidation = Verify;
        }
    }

    /// <summary>A certificate that no authority of ours has signed ends the handshake: it never counts as no certificate.</summary>
    private bool Verify(X509Certificate2 certificate, X509Chain? sent, SslPolicyErrors errors)
    {
        using X509Chain chain = new();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_clientCas);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        foreach (X509ChainElement element in sent?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
        {
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        }

        return chain.Build(certificate);
    }

    // upstream: MaybeDefaultWithSelfSignedCerts
    private static (string Cert, string Key) SelfSigned(ServerOptions options, TimeProvider time)
    {
        if (options.CertDir.Length == 0)
        {
            throw new InvalidOperationException("no serving certificate: give --tls-cert-file and --tls-private-key-file, or --cert-dir for a self-signed one");
        }

        Directory.CreateDirectory(options.CertDir);
        string cert = Path.Combine(options.CertDir, "apiserver.crt");
        string key = Path.Combine(options.CertDir, "apiserver.key");
        if (File.Exists(cert) && File.Exists(key))
        {
            return (cert, key);
        }

        using ECDsa ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=kube-apiserver", ecdsa, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        foreach (string name in (ReadOnlySpan<string>)["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"])
        {
            names.AddDnsName(name);
        }

        names.AddIpAddress(System.Net.IPAddress.Loopback);
        if (System.Net.IPAddress.TryParse(options.AdvertiseAddress, out System.Net.IPAddress? advertised))
        {
            names.AddIpAddress(advertised);
        }

        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        DateTimeOffset now = time.GetUtcNow();
        using X509Certificate2 made = request.CreateSelfSigned(now.AddHours(-1), now.AddYears(1));
        File.WriteAllText(cert, made.ExportCertificatePem());
        using (FileStream stream = new(key, new FileStreamOptions
        {
            Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
            stream.Write(System.Text.Encoding.ASCII.GetBytes(ecdsa.ExportPkcs8PrivateKeyPem()));
        }

        return (cert, key);
    }
}

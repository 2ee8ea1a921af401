using System.Net.Security;
using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>An authority that signs through another one, as issuers of certificates in clusters do, and its list of what it has revoked.</summary>
public sealed class CertificateChainTests : IDisposable
{
    private static readonly DateTimeOffset From = DateTimeOffset.UtcNow.AddDays(-1);
    private static readonly DateTimeOffset Until = From.AddDays(30);
    private readonly string _directory = StoreProcess.NewDirectory();
    private readonly X509Certificate2 _root;
    private readonly X509Certificate2 _between;

    public CertificateChainTests()
    {
        _root = Authority("root", signer: null);
        _between = Authority("between", _root);
        Write("root.crt", _root.ExportCertificatePem());
        foreach (string name in (string[])["server", "client"])
        {
            using X509Certificate2 leaf = Leaf(name);
            Write(name + ".crt", leaf.ExportCertificatePem() + "\n" + _between.ExportCertificatePem() + "\n");
            Write(name + ".key", leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        }
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _root.Dispose();
        _between.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Who_knows_the_root_alone_believes_either_side(StoreKind kind)
    {
        string url = $"https://127.0.0.1:{FreePorts.Next()}";
        using StoreProcess store = await StartAsync(kind, url);
        Assert.True(await IsServedAsync(url));
        Assert.False(await IsServedAsync(url, withChain: false));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_list_of_revoked_certificates_counts_as_it_is_now(StoreKind kind)
    {
        string url = $"https://127.0.0.1:{FreePorts.Next()}";
        WriteRevoked();
        using StoreProcess store = await StartAsync(kind, url, "--client-crl-file", InDirectory("revoked.crl"));
        Assert.True(await IsServedAsync(url));
        using X509Certificate2 client = X509CertificateLoader.LoadCertificateFromFile(InDirectory("client.crt"));
        WriteRevoked(client);
        Assert.False(await IsServedAsync(url));
        WriteRevoked();
        Assert.True(await IsServedAsync(url));
        WriteRevoked(_between);
        Assert.False(await IsServedAsync(url));
        Write("revoked.crl", "nonsense");
        Assert.False(await IsServedAsync(url));
        File.Delete(InDirectory("revoked.crl"));
        Assert.False(await IsServedAsync(url));
        WriteRevoked();
        Assert.True(await IsServedAsync(url));
    }

    private static X509Certificate2 Authority(string name, X509Certificate2? signer)
    {
        ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return signer is null ? request.CreateSelfSigned(From, Until) : request.Create(signer, From, Until, RandomNumberGenerator.GetBytes(8)).CopyWithPrivateKey(key);
    }

    private X509Certificate2 Leaf(string name)
    {
        ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new($"CN={name}", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        names.AddIpAddress(System.Net.IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        return request.Create(_between, From, Until.AddDays(-1), RandomNumberGenerator.GetBytes(8)).CopyWithPrivateKey(key);
    }

    private Task<StoreProcess> StartAsync(StoreKind kind, string url, params string[] more) => StoreProcess.StartAsync(
        kind, Cancellation, null, [
            "--listen-metrics-urls", url, "--cert-file", InDirectory("server.crt"), "--key-file", InDirectory("server.key"),
            "--trusted-ca-file", InDirectory("root.crt"), "--client-cert-auth", .. more]);

    /// <summary>Over a connection of its own.</summary>
    private async Task<bool> IsServedAsync(string url, bool withChain = true)
    {
        using X509Certificate2 own = X509Certificate2.CreateFromPemFile(InDirectory("client.crt"), InDirectory("client.key"));
        X509ChainPolicy policy = new() { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.Add(_root);
        using SocketsHttpHandler handler = new() { UseProxy = false };
        handler.SslOptions = new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = policy,
            ClientCertificateContext = SslStreamCertificateContext.Create(own, withChain ? [_between] : [], offline: true),
        };
        using HttpClient client = new(handler);
        try
        {
            using HttpResponseMessage answer = await client.GetAsync(new Uri(url + "/health"), Cancellation);
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private void WriteRevoked(params X509Certificate2[] certificates)
    {
        CertificateRevocationListBuilder list = new();
        list.AddEntry([1, 2, 3]);
        foreach (X509Certificate2 certificate in certificates)
        {
            list.AddEntry(certificate);
        }

        File.WriteAllBytes(InDirectory("revoked.crl"), list.Build(_root, new BigInteger(1), Until, HashAlgorithmName.SHA256));
    }

    private void Write(string name, string text) => File.WriteAllText(InDirectory(name), text);

    private string InDirectory(string name) => Path.Combine(_directory, name);
}

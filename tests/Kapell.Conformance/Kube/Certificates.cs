using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Conformance.Kube;

/// <summary>An authority of the test's own and what it signs.</summary>
internal sealed class Certificates : IDisposable
{
    private static readonly DateTimeOffset From = DateTimeOffset.UtcNow.AddDays(-1);
    private readonly X509Certificate2 _authority;

    public Certificates()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=conformance-ca", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        _authority = request.CreateSelfSigned(From, From.AddDays(10));
    }

    public string AuthorityPem => _authority.ExportCertificatePem();

    /// <summary>A serving certificate for loopback, as PEM.</summary>
    public (string Certificate, string Key) Serving()
    {
        SubjectAlternativeNameBuilder names = new();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 certificate = Sign("CN=kube-apiserver", key, "1.3.6.1.5.5.7.3.1", names.Build());
        return (certificate.ExportCertificatePem(), key.ExportECPrivateKeyPem());
    }

    /// <summary>A client certificate: user and groups as common name and organizations.</summary>
    public X509Certificate2 Client(string user, params string[] groups)
    {
        X500DistinguishedNameBuilder name = new();
        foreach (string group in groups)
        {
            name.AddOrganizationName(group);
        }

        name.AddCommonName(user);
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 certificate = Sign(name.Build().Name, key, "1.3.6.1.5.5.7.3.2", null);
        using X509Certificate2 whole = certificate.CopyWithPrivateKey(key);
        // The TLS stack wants a key that it can load on its own.
        return X509CertificateLoader.LoadPkcs12(whole.Export(X509ContentType.Pkcs12), null);
    }

    public void Dispose() => _authority.Dispose();

    private X509Certificate2 Sign(string subject, ECDsa key, string usage, X509Extension? names)
    {
        CertificateRequest request = new(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_authority, true, false));
        if (names is not null)
        {
            request.CertificateExtensions.Add(names);
        }

        return request.Create(_authority, From, From.AddDays(9), RandomNumberGenerator.GetBytes(8));
    }
}

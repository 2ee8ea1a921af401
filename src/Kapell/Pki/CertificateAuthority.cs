using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Cli.Pki;

/// <summary>What a certificate is for.</summary>
/// <param name="CommonName">The user name for clients.</param>
/// <param name="Organization">The group for clients; empty for none.</param>
/// <param name="AlternativeNames">DNS names and addresses a server answers to; empty for pure clients.</param>
internal sealed record CertificateRequestFacts(string CommonName, string Organization, IReadOnlyList<string> AlternativeNames);

/// <summary>An authority of the cluster's own, ECDSA P-256; its key stays in the data folder, readable by the owner only.</summary>
internal sealed class CertificateAuthority : IDisposable
{
    private static readonly TimeSpan AuthorityLife = TimeSpan.FromDays(3650);
    private static readonly TimeSpan LeafLife = TimeSpan.FromDays(365);
    private static readonly TimeSpan ClockSkew = TimeSpan.FromMinutes(5);
    private readonly X509Certificate2 _certificate;
    private readonly ECDsa _key;
    private readonly TimeProvider _time;

    private CertificateAuthority(X509Certificate2 certificate, ECDsa key, TimeProvider time)
    {
        _certificate = certificate;
        _key = key;
        _time = time;
    }

    public static CertificateAuthority Create(string commonName, TimeProvider time)
    {
        ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=" + commonName, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        DateTimeOffset now = time.GetUtcNow();
        return new CertificateAuthority(request.CreateSelfSigned(now - ClockSkew, now + AuthorityLife), key, time);
    }

    public static CertificateAuthority Load(string certificatePem, string keyPem, TimeProvider time)
    {
        ECDsa key = ECDsa.Create();
        key.ImportFromPem(keyPem);
        return new CertificateAuthority(X509Certificate2.CreateFromPem(certificatePem), key, time);
    }

    public string CertificatePem => _certificate.ExportCertificatePem() + "\n";

    public string KeyPem => _key.ExportPkcs8PrivateKeyPem() + "\n";

    /// <summary>A leaf for both client and server use, one year.</summary>
    public (string CertificatePem, string KeyPem) Issue(CertificateRequestFacts facts)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        X500DistinguishedNameBuilder subject = new();
        if (facts.Organization.Length > 0)
        {
            subject.AddOrganizationName(facts.Organization);
        }

        subject.AddCommonName(facts.CommonName);
        CertificateRequest request = new(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_certificate, true, false));
        if (facts.AlternativeNames.Count > 0)
        {
            SubjectAlternativeNameBuilder names = new();
            foreach (string name in facts.AlternativeNames)
            {
                if (System.Net.IPAddress.TryParse(name, out System.Net.IPAddress? address))
                {
                    names.AddIpAddress(address);
                }
                else
                {
                    names.AddDnsName(name);
                }
            }

            request.CertificateExtensions.Add(names.Build());
        }

        DateTimeOffset now = _time.GetUtcNow();
        byte[] serial = RandomNumberGenerator.GetBytes(16);
        serial[0] &= 0x7f;
        using X509Certificate2 leaf = request.Create(_certificate, now - ClockSkew, now + LeafLife, serial);
        return (leaf.ExportCertificatePem() + "\n", key.ExportPkcs8PrivateKeyPem() + "\n");
    }

    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
    }
}

using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// A certificate that a member makes for itself (--auto-tls): it hides what is said, and proves nothing about who says it. Kept in the
/// data directory and used again while it is good. etcd: transport/listener.go SelfCert
/// </summary>
internal static class SelfSigned
{
    private static readonly TimeSpan RenewBefore = TimeSpan.FromDays(1);

    /// <exception cref="IOException">The directory cannot be written.</exception>
    public static ServerTls Ensure(string directory, IEnumerable<string> urls, int years, ServerTls rules, DateTimeOffset now)
    {
        string certFile = Path.Combine(directory, "cert.pem");
        string keyFile = Path.Combine(directory, "key.pem");
        if (!IsGood(certFile, keyFile, now))
        {
            Directory.CreateDirectory(directory);
            using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using X509Certificate2 certificate = Make(key, urls, years, now);
            Write(keyFile, key.ExportECPrivateKeyPem(), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            Write(certFile, certificate.ExportCertificatePem(), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        }

        return rules with { CertFile = certFile, KeyFile = keyFile, IsSelfSigned = true };
    }

    private static bool IsGood(string certFile, string keyFile, DateTimeOffset now)
    {
        if (!File.Exists(certFile) || !File.Exists(keyFile))
        {
            return false;
        }

        using X509Certificate2 certificate = X509CertificateLoader.LoadCertificateFromFile(certFile);
        return certificate.NotAfter.ToUniversalTime() > (now + RenewBefore).UtcDateTime;
    }

    private static X509Certificate2 Make(ECDsa key, IEnumerable<string> urls, int years, DateTimeOffset now)
    {
        CertificateRequest request = new("O=etcd", key, HashAlgorithmName.SHA256);
        SubjectAlternativeNameBuilder names = new();
        foreach (string host in urls.Where(static u => ListenAddress.SocketPath(u) is null).Select(static u => new Uri(u).Host.Trim('[', ']')).Distinct())
        {
            if (IPAddress.TryParse(host, out IPAddress? address))
            {
                names.AddIpAddress(address);
            }
            else
            {
                names.AddDnsName(host);
            }
        }

        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment | X509KeyUsageFlags.KeyCertSign, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        return request.CreateSelfSigned(now.AddMinutes(-5), now.AddYears(Math.Max(1, years)));
    }

    private static void Write(string path, string pem, UnixFileMode mode)
    {
        FileStreamOptions options = new() { Mode = FileMode.Create, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = mode;
        }

        using StreamWriter file = new(path, options);
        file.Write(pem);
    }
}

using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// A certificate, those that lead from it to its authority (behind it in its file), and its key, read again when the files have changed:
/// certificates are renewed while a member runs.
/// </summary>
internal sealed class CertificateFile(string certFile, string keyFile)
{
    private readonly Lock _gate = new();
    private (DateTime Cert, DateTime Key) _stamp;
    private (DateTime Cert, DateTime Key) _told;
    private SslStreamCertificateContext? _current;

    /// <summary>Is told once of files that were changed and cannot be read: which, and why.</summary>
    public Action<string, string>? Unreadable { get; set; }

    /// <summary>The newest that could be read.</summary>
    public X509Certificate2 Current => Chain.TargetCertificate;

    /// <summary>It with those between it and its authority, as they are shown; another object when the files have changed.</summary>
    public SslStreamCertificateContext Chain
    {
        get
        {
            lock (_gate)
            {
                try
                {
                    Read();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException && _current is not null)
                {
                    // Half written, or being exchanged: the one before is still good, and the next connection looks again.
                    (DateTime, DateTime) stamp = Stamp();
                    if (stamp != _told)
                    {
                        _told = stamp;
                        Unreadable?.Invoke(certFile, e.Message);
                    }
                }

                return _current!;
            }
        }
    }

    /// <exception cref="CryptographicException">They are no certificate and key, or do not go together.</exception>
    /// <exception cref="IOException">A file is not there.</exception>
    public void Read()
    {
        (DateTime, DateTime) stamp = Stamp();
        if (_current is null || stamp != _stamp)
        {
            _current = Load(certFile, keyFile);
            _stamp = stamp;
        }
    }

    /// <summary>The certificate of a file that is read once, with those that follow it there.</summary>
    public static SslStreamCertificateContext Load(string certFile, string keyFile)
    {
        X509Certificate2Collection all = [];
        all.ImportFromPemFile(certFile);
        return SslStreamCertificateContext.Create(X509Certificate2.CreateFromPemFile(certFile, keyFile), all, offline: true);
    }

    private (DateTime Cert, DateTime Key) Stamp() => (File.GetLastWriteTimeUtc(certFile), File.GetLastWriteTimeUtc(keyFile));
}

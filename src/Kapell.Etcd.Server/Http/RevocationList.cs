using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// The numbers of certificates that are not good any more, from a file (PEM or DER) that is read again when it has changed. While it cannot be
/// read nobody is believed. etcd: client/pkg/transport/listener_tls.go checkCRL, which compares numbers alone
/// </summary>
internal sealed class RevocationList(string path)
{
    private readonly Lock _gate = new();
    private (DateTime Written, long Length) _stamp;
    private CertificateRevocationListBuilder? _list;

    /// <summary>Why one of these certificates is not to be believed; null when nothing speaks against them.</summary>
    public string? Objection(IEnumerable<X509Certificate2> shown)
    {
        lock (_gate)
        {
            try
            {
                Read();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
            {
                return $"the list of revoked certificates {path} cannot be read: {e.Message}";
            }

            return shown.FirstOrDefault(Holds) is { } revoked ? $"{revoked.Subject} is revoked by {path}" : null;
        }
    }

    /// <exception cref="CryptographicException">It is no list.</exception>
    /// <exception cref="IOException">It is not there.</exception>
    public void Read()
    {
        FileInfo file = new(path);
        (DateTime, long) stamp = (file.LastWriteTimeUtc, file.Exists ? file.Length : -1);
        if (_list is not null && stamp == _stamp)
        {
            return;
        }

        // What cannot be read takes the place of what could.
        _list = null;
        byte[] bytes = File.ReadAllBytes(path);
        _list = bytes.AsSpan().IndexOf("-----BEGIN"u8) >= 0
            ? CertificateRevocationListBuilder.LoadPem(Encoding.ASCII.GetString(bytes), out _)
            : CertificateRevocationListBuilder.Load(bytes, out _);
        _stamp = stamp;
    }

    private bool Holds(X509Certificate2 certificate)
    {
        // The one way to ask this type whether it holds a number.
        byte[] serial = certificate.SerialNumberBytes.ToArray();
        bool held = _list!.RemoveEntry(serial);
        if (held)
        {
            _list.AddEntry(serial);
        }

        return held;
    }
}

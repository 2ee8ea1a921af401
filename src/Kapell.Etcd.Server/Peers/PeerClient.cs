using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Kapell.Etcd.Server.Http;

namespace Kapell.Etcd.Server.Peers;

/// <summary>Makes the HTTP client for other members: its own certificate, and theirs checked against the peers' authority.</summary>
internal static class PeerClient
{
    // With the handshake of TLS, for which a busy machine may need seconds: who gives up begins it again.
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    // A socket of the file system has no name that a certificate could show.
    private static SslPolicyErrors OfSocket(object sender, SslPolicyErrors errors) =>
        (sender as SslStream)?.TargetHostName.StartsWith(PeerAddress.SocketHost, StringComparison.Ordinal) == true
            ? errors & ~SslPolicyErrors.RemoteCertificateNameMismatch
            : errors;

    /// <param name="silenceMax">
    /// How long what was sent may stay without the other machine's word of receipt, before the connection counts as broken. Without this
    /// bound the kernel repeats it at longer and longer intervals, and a cut of seconds goes on for as long again after it was mended.
    /// </param>
    /// <param name="from">The address of this machine to call from; null: the kernel chooses.</param>
    public static HttpClient Create(TlsSettings? tls, TimeSpan silenceMax, IPAddress? from)
    {
        if (tls is null)
        {
            return new HttpClient(HandlerOf(silenceMax, from)) { Timeout = Timeout.InfiniteTimeSpan };
        }

        RenewingHandler handler = new(() => tls.ClientCertificate, shown =>
        {
            SocketsHttpHandler made = HandlerOf(silenceMax, from);
            made.SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificateContext = shown,
                RemoteCertificateValidationCallback = (sender, certificate, sent, errors) =>
                    certificate is X509Certificate2 given && tls.IsTrustedServer(given, sent, OfSocket(sender, errors)),
            };
            return made;
        });
        return new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }

    private static SocketsHttpHandler HandlerOf(TimeSpan silenceMax, IPAddress? from) => new()
    {
        ConnectTimeout = ConnectTimeout,
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
        ConnectCallback = (context, cancellation) => PeerAddress.ConnectAsync(context, silenceMax, from, cancellation),
    };
}

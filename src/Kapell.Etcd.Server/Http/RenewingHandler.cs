using System.Net.Security;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// Sends over connections that show our certificate as it is now: when it is another one, new requests make connections anew, while what goes on
/// over the old ones goes on.
/// </summary>
/// <param name="certificate">The newest; the same object while it is the same.</param>
/// <param name="connect">What makes connections that show it.</param>
internal sealed class RenewingHandler(Func<SslStreamCertificateContext> certificate, Func<SslStreamCertificateContext, SocketsHttpHandler> connect) : HttpMessageHandler
{
    private readonly Lock _gate = new();
    private readonly List<HttpMessageInvoker> _all = []; // The last one for new requests. Certificates are renewed after days or months.
    private SslStreamCertificateContext? _shown;

    protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
        Newest().SendAsync(request, cancellationToken);

    protected override HttpResponseMessage Send(HttpRequestMessage request, CancellationToken cancellationToken) =>
        Newest().Send(request, cancellationToken);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            lock (_gate)
            {
                _all.ForEach(static i => i.Dispose());
            }
        }

        base.Dispose(disposing);
    }

    private HttpMessageInvoker Newest()
    {
        SslStreamCertificateContext now = certificate();
        lock (_gate)
        {
            if (!ReferenceEquals(now, _shown))
            {
                _shown = now;
                _all.Add(new HttpMessageInvoker(connect(now)));
            }

            return _all[^1];
        }
    }
}

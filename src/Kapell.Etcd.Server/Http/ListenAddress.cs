using System.Net;
using Kapell.Base;

namespace Kapell.Etcd.Server.Http;

/// <summary>A URL to listen on, resolved without asking anybody: an address, or localhost.</summary>
internal sealed record ListenAddress(bool IsTls, IReadOnlyList<IPEndPoint> EndPoints)
{
    public static ListenAddress Parse(string url)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https") || uri.Port <= 0
            || uri.AbsolutePath != "/")
        {
            throw new FlagException($"URL \"{url}\" to listen on must be http or https with an address and a port");
        }

        if (IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address))
        {
            return new ListenAddress(uri.Scheme == "https", [new IPEndPoint(address, uri.Port)]);
        }

        // etcd: embed/config.go: a name is refused except localhost, for it may resolve differently tomorrow.
        return uri.Host == "localhost"
            ? new ListenAddress(uri.Scheme == "https", [new IPEndPoint(IPAddress.Loopback, uri.Port)])
            : throw new FlagException($"expected IP in URL for binding ({url})");
    }
}

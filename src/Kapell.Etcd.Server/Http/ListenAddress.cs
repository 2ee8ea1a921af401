using System.Globalization;
using System.Net;
using System.Text;
using Kapell.Base;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// A URL to listen on, resolved without asking anybody: an address and a port (0: any free one), localhost, or the path of a socket of the
/// file system. etcd: client/pkg/types/urls.go, embed/config.go
/// </summary>
internal sealed record ListenAddress(bool IsTls, IReadOnlyList<EndPoint> EndPoints)
{
    private const int SocketPathMax = 107; // Of the kernel: sun_path without its zero.

    /// <summary>
    /// What is wrong with the URL of a member, in upstream's words; null when nothing is. A port must be named, and nothing behind it.
    /// etcd: client/pkg/types/urls.go NewURLs
    /// </summary>
    public static string? WrongWith(string url)
    {
        if (SocketPath(url) is not null)
        {
            return null;
        }

        if (InvalidPort(url) is { } port)
        {
            return $"address {port}: invalid port: {url}";
        }

        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https"))
        {
            return $"URL scheme must be http, https, unix, or unixs: {url}";
        }

        ReadOnlySpan<char> authority = url.AsSpan(url.IndexOf("://", StringComparison.Ordinal) + 3);
        int end = authority.IndexOfAny('/', '?', '#');
        authority = end < 0 ? authority : authority[..end];
        return authority.LastIndexOf(':') <= authority.LastIndexOf(']') ? $"URL address does not have the form \"host:port\": {url}"
            : uri.AbsolutePath != "/" || url.EndsWith('/') ? $"URL must not contain a path: {url}"
            : null;
    }

    // Named here, as a URL with such a port is none for the platform, whatever else it says.
    private static string? InvalidPort(string url)
    {
        int scheme = url.IndexOf("://", StringComparison.Ordinal);
        if (scheme < 0 || url[..scheme] is not ("http" or "https"))
        {
            return null;
        }

        string authority = url[(scheme + 3)..].Split('/', '?', '#')[0];
        int colon = authority.LastIndexOf(':');
        string port = authority[(colon + 1)..];
        return colon <= authority.LastIndexOf(']') || port.Length == 0 || ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out _) ? null : port;
    }

    /// <exception cref="FlagException">It is no such URL.</exception>
    public static ListenAddress Parse(string url)
    {
        if (SocketPath(url) is { } path)
        {
            if (Encoding.UTF8.GetByteCount(path) > SocketPathMax)
            {
                throw new FlagException($"the path of a socket to listen on has at most {SocketPathMax} bytes ({url}); a path from the working directory may be shorter");
            }

            return new ListenAddress(url.StartsWith("unixs:", StringComparison.Ordinal), [new UnixEndPoint(path)]);
        }

        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https") || uri.Port < 0 || uri.AbsolutePath != "/")
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

    /// <summary><c>unix://dir/name:1</c> is the file <c>dir/name:1</c>, from the working directory; null for what is no such URL.</summary>
    public static string? SocketPath(string url)
    {
        string? path = url.StartsWith("unix://", StringComparison.Ordinal) ? url["unix://".Length..]
            : url.StartsWith("unixs://", StringComparison.Ordinal) ? url["unixs://".Length..]
            : null;
        return path is { Length: > 0 } ? path : null;
    }
}

/// <summary>A socket of the file system, as something that can be compared.</summary>
internal sealed class UnixEndPoint(string path) : EndPoint
{
    /// <summary>As it was named: from the working directory it may be within the kernel's bound where from the root it is not.</summary>
    public string Name => path;

    /// <summary>From the root.</summary>
    public string Path { get; } = System.IO.Path.GetFullPath(path);

    public override bool Equals(object? obj) => obj is UnixEndPoint other && other.Path == Path;

    public override int GetHashCode() => Path.GetHashCode(StringComparison.Ordinal);

    public override string ToString() => Path;
}

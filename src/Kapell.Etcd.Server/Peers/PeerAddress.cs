using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Kapell.Etcd.Server.Http;

namespace Kapell.Etcd.Server.Peers;

/// <summary>How a member's URL is called by HTTP: a socket of the file system stands under a made-up host name.</summary>
internal static class PeerAddress
{
    public const string SocketHost = "unix-socket-";
    private const int LevelTcp = 6;
    private const int OptionUserTimeout = 18; // Linux: TCP_USER_TIMEOUT

    // Its kernel takes a connection at once, or it cannot be reached.
    private static readonly TimeSpan ReachTimeout = TimeSpan.FromSeconds(2);
    private static readonly HttpRequestOptionsKey<string> Socket = new("kapell-socket");

    /// <param name="method">Of HTTP.</param>
    /// <param name="url">Where the member listens: http, https, unix or unixs.</param>
    /// <param name="path">Begins with a slash.</param>
    public static HttpRequestMessage Request(HttpMethod method, string url, string path)
    {
        if (ListenAddress.SocketPath(url) is not { } socket)
        {
            return new HttpRequestMessage(method, url.TrimEnd('/') + path);
        }

        // Connections are kept by host name, so each socket needs its own.
        string host = SocketHost + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(socket)).AsSpan(0, 16));
        HttpRequestMessage request = new(method, $"{(url.StartsWith("unixs:", StringComparison.Ordinal) ? "https" : "http")}://{host}{path}");
        request.Options.Set(Socket, socket);
        return request;
    }

    /// <summary>The first address among them from which other machines can be called; null: there is none.</summary>
    public static IPAddress? CallingAddress(IEnumerable<string> urls) => urls
        .Select(static url => Uri.TryCreate(url, UriKind.Absolute, out Uri? uri) && IPAddress.TryParse(uri.Host.Trim('[', ']'), out IPAddress? address) ? address : null)
        .FirstOrDefault(static a => a is not null && !IPAddress.IsLoopback(a) && !a.Equals(IPAddress.Any) && !a.Equals(IPAddress.IPv6Any));

    public static async ValueTask<Stream> ConnectAsync(
        SocketsHttpConnectionContext context, TimeSpan silenceMax, IPAddress? from, CancellationToken cancellation)
    {
        bool isUnix = context.InitialRequestMessage.Options.TryGetValue(Socket, out string? path);
        System.Net.Sockets.Socket socket =
            isUnix ? new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) : from is null ? new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new(from.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (!isUnix)
            {
                if (from is not null)
                {
                    socket.Bind(new IPEndPoint(from, 0));
                }

                socket.SetRawSocketOption(LevelTcp, OptionUserTimeout, BitConverter.GetBytes((int)silenceMax.TotalMilliseconds));
            }

            using CancellationTokenSource reaching = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            reaching.CancelAfter(ReachTimeout);
            try
            {
                await (isUnix ? socket.ConnectAsync(new UnixDomainSocketEndPoint(path!), reaching.Token) : socket.ConnectAsync(context.DnsEndPoint, reaching.Token));
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                throw new IOException($"{context.DnsEndPoint.Host} did not take the connection within {ReachTimeout.TotalSeconds} s");
            }

            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

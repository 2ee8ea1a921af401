using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Kapell.Etcd.Server.Http;

/// <summary>Listening where another process does that allows it too: the kernel gives each of them some of the connections. socket(7)</summary>
internal static class ReusedPort
{
    // Linux's numbers; the platform has no name for the option.
    private const int SocketLevel = 1;
    private const int ReusePort = 15;

    public static void Allow(SocketTransportOptions sockets, bool allow)
    {
        if (allow)
        {
            sockets.CreateBoundListenSocket = Bind;
        }
    }

    private static Socket Bind(EndPoint endPoint)
    {
        if (endPoint is not IPEndPoint address)
        {
            return SocketTransportOptions.CreateDefaultBoundListenSocket(endPoint);
        }

        Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (address.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true; // As without the option.
            }

            socket.SetRawSocketOption(SocketLevel, ReusePort, BitConverter.GetBytes(1));
            socket.Bind(address);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}

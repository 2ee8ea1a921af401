using System.Net;
using System.Net.Sockets;

namespace Kapell.Conformance;

/// <summary>
/// Ports of the loopback for programs that are told theirs before they run. None of those that the system gives to outgoing connections
/// and to listeners that ask for any: one of them would take it meanwhile.
/// </summary>
internal static class FreePorts
{
    // Linux gives 32768 and more (ip_local_port_range), Kubernetes' node ports begin at 30000.
    private const int First = 20_000;
    private const int Count = 10_000;

    // Another run of the tests most likely began elsewhere.
    private static int _next = Random.Shared.Next(Count);

    /// <summary>One where nobody listens; never the same twice, before all are through.</summary>
    public static int Next()
    {
        for (int attempt = 0; attempt < Count; attempt++)
        {
            int port = First + (int)((uint)Interlocked.Increment(ref _next) % Count);
            try
            {
                using TcpListener listener = new(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // The next one.
            }
        }

        throw new InvalidOperationException($"somebody listens on every port from {First} to {First + Count - 1} of the loopback");
    }
}

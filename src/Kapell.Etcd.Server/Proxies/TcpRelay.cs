using System.Net;
using System.Net.Sockets;
using Kapell.Etcd.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// Passes on the bytes of connections: each goes to one of the addresses, the next one when that does not answer; what does not answer is
/// tried again after a while. etcd: server/proxy/tcpproxy/userspace.go
/// </summary>
internal sealed class TcpRelay(RemoteSet remotes, TimeSpan retryDelay, TimeProvider time, ILogger logger)
{
    private const int BufferBytes = 64 * 1024;
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Until stopped; open connections are then broken off.</summary>
    public async Task RunAsync(IReadOnlyList<Socket> listeners, CancellationToken stopping)
    {
        await Task.WhenAll([.. listeners.Select(l => AcceptAsync(l, stopping)), ReviveAsync(stopping)]);
    }

    /// <exception cref="IOException">The address cannot be listened on.</exception>
    public static Socket Listen(IPEndPoint address)
    {
        Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(address);
            socket.Listen();
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new IOException($"listen tcp {address}: bind: {e.Message}", e);
        }
    }

    private async Task AcceptAsync(Socket listener, CancellationToken stopping)
    {
        using (listener)
        {
            while (true)
            {
                Socket client;
                try
                {
                    client = await listener.AcceptAsync(stopping);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.ConnectionReset)
                {
                    // It passes: connections end, and this client has gone.
                    await Task.Delay(TimeSpan.FromMilliseconds(100), time, CancellationToken.None);
                    continue;
                }

                _ = ServeAsync(client, stopping);
            }
        }
    }

    private async Task ServeAsync(Socket client, CancellationToken stopping)
    {
        using (client)
        {
            client.NoDelay = true;
            using Socket? server = await ConnectAsync(stopping);
            if (server is null)
            {
                return;
            }

            using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(stopping);
            await Task.WhenAll(CopyAsync(client, server, ended), CopyAsync(server, client, ended));
        }
    }

    private async Task<Socket?> ConnectAsync(CancellationToken stopping)
    {
        while (remotes.Pick() is { } remote)
        {
            try
            {
                return await DialAsync(remote, stopping);
            }
            catch (Exception e) when (e is SocketException or TimeoutException)
            {
                remote.Active = false;
                Log.EndpointDeactivated(logger, remote.ToString(), retryDelay, e.Message);
            }
            catch (OperationCanceledException)
            {
                return null;
            }
        }

        return null;
    }

    private async Task<Socket> DialAsync(Remote remote, CancellationToken stopping)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(remote.Host, remote.Port, stopping).AsTask().WaitAsync(ConnectTimeout, time, stopping);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // A side that has ended its half may still be answered; an error ends both.
    private static async Task CopyAsync(Socket from, Socket to, CancellationTokenSource ended)
    {
        byte[] buffer = new byte[BufferBytes];
        try
        {
            int read;
            while ((read = await from.ReceiveAsync(buffer, ended.Token)) > 0)
            {
                int sent = 0;
                while (sent < read)
                {
                    sent += await to.SendAsync(buffer.AsMemory(sent, read - sent), ended.Token);
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
        {
            await ended.CancelAsync();
        }
    }

    private async Task ReviveAsync(CancellationToken stopping)
    {
        try
        {
            while (true)
            {
                await Task.Delay(retryDelay, time, stopping);
                await Task.WhenAll(remotes.All.Where(static r => !r.Active).Select(r => TryAsync(r, stopping)));
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped.
        }
    }

    private async Task TryAsync(Remote remote, CancellationToken stopping)
    {
        try
        {
            (await DialAsync(remote, stopping)).Dispose();
            remote.Active = true;
            Log.EndpointActivated(logger, remote.ToString());
        }
        catch (Exception e) when (e is SocketException or TimeoutException)
        {
            Log.EndpointStaysInactive(logger, remote.ToString(), retryDelay, e.Message);
        }
    }
}

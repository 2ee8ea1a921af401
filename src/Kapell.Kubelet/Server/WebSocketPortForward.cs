using System.Net.Sockets;
using System.Net.WebSockets;
using Microsoft.AspNetCore.Http;

namespace Kapell.Kubelet.Server;

/// <summary>Port-forward over WebSocket: the messages are the bytes of a SPDY connection, carried to the runtime as they are. // KEP-4006</summary>
internal static class WebSocketPortForward
{
    private const string Tunnel = "SPDY/3.1+portforward.k8s.io";
    private const int BufferBytes = 32 * 1024;
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(3);

    public static async Task ServeAsync(HttpContext context, Uri runtime, CancellationToken cancellation)
    {
        if (!WebSocketHandshake.Protocols(context).Contains(Tunnel))
        {
            await KubeletServer.TextAsync(context, 400, $"unable to upgrade: port-forward over WebSocket needs the subprotocol {Tunnel}");
            return;
        }

        (UpgradeAnswer answer, NetworkStream stream) = await StreamRelay.UpgradeAsync(
            runtime, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", "portforward.k8s.io")], cancellation);
        await using (stream)
        {
            if (answer.Code != 101)
            {
                await KubeletServer.TextAsync(context, answer.Code, answer.Body);
                return;
            }

            using WebSocket socket = await WebSocketHandshake.AcceptAsync(context, Tunnel);
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            Task there = ToRuntimeAsync(socket, stream, over.Token);
            Task back = ToClientAsync(stream, socket, over.Token);
            if (await Task.WhenAny(there, back) == back)
            {
                over.CancelAfter(CloseTimeout); // The client answers our close; cutting it short could lose what is on its way.
            }
            else
            {
                await over.CancelAsync();
            }

            await Task.WhenAll(there, back);
        }
    }

    private static async Task ToRuntimeAsync(WebSocket socket, Stream stream, CancellationToken cancellation)
    {
        byte[] buffer = new byte[BufferBytes];
        try
        {
            while (await socket.ReceiveAsync(buffer.AsMemory(), cancellation) is { MessageType: not WebSocketMessageType.Close } part)
            {
                await stream.WriteAsync(buffer.AsMemory(0, part.Count), cancellation);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // The end of the tunnel.
        }
    }

    private static async Task ToClientAsync(Stream stream, WebSocket socket, CancellationToken cancellation)
    {
        byte[] buffer = new byte[BufferBytes];
        try
        {
            while (await stream.ReadAsync(buffer, cancellation) is var read and > 0)
            {
                await socket.SendAsync(buffer.AsMemory(0, read), WebSocketMessageType.Binary, endOfMessage: true, cancellation);
            }

            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, "", cancellation);
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // The end of the tunnel.
        }
    }
}

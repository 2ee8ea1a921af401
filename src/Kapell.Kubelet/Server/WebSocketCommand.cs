using System.Net.Sockets;
using System.Net.WebSockets;
using Microsoft.AspNetCore.Http;

namespace Kapell.Kubelet.Server;

/// <summary>
/// exec and attach for WebSocket clients: channels 0 to 4 (stdin, stdout, stderr, error, resize) become SPDY streams. v5 adds the
/// half-close: channel 255 and the number of the channel that ends. // KEP-4006
/// </summary>
internal static class WebSocketCommand
{
    private const string V5 = "v5.channel.k8s.io";
    private const string V4 = "v4.channel.k8s.io";
    private const int BufferBytes = 64 * 1024;
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(3);
    private const byte Stdin = 0, Stdout = 1, Stderr = 2, Error = 3, Resize = 4, CloseChannel = 255;

    public static async Task ServeAsync(HttpContext context, Uri runtime, StreamSelection wanted, CancellationToken cancellation)
    {
        string? protocol = WebSocketHandshake.Protocols(context).FirstOrDefault(p => p is V5 or V4);
        if (protocol is null)
        {
            await KubeletServer.TextAsync(context, 400, $"unable to upgrade: none of the subprotocols is supported; use {V5} or {V4}");
            return;
        }

        (UpgradeAnswer answer, NetworkStream stream) = await StreamRelay.UpgradeAsync(
            runtime, [("Connection", "Upgrade"), ("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", V4)], cancellation);
        await using (stream)
        {
            if (answer.Code != 101)
            {
                await KubeletServer.TextAsync(context, answer.Code, answer.Body);
                return;
            }

            using WebSocket socket = await WebSocketHandshake.AcceptAsync(context, protocol);
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            SpdyConnection spdy = new(stream);
            Task reading = spdy.ReadAsync(over.Token);
            try
            {
                await JoinAsync(socket, spdy, wanted, over.Token);
            }
            catch (Exception e) when (e is WebSocketException or IOException)
            {
                // One side is gone: the other is told by the end of its connection.
            }
            finally
            {
                await over.CancelAsync();
                await reading;
            }
        }
    }

    private static async Task JoinAsync(WebSocket socket, SpdyConnection spdy, StreamSelection wanted, CancellationToken cancellation)
    {
        SemaphoreSlim sending = new(1);
        Task<SpdyStream> Open(string type) => spdy.OpenAsync([("streamtype", type)], cancellation);
        List<Task> outgoing = [];
        // The order is that of client-go's v2 to v4 protocols, which the server counts by.
        SpdyStream error = await Open("error");
        SpdyStream? stdin = wanted.Stdin ? await Open("stdin") : null;
        outgoing.Add(PumpAsync(error, Error, socket, sending, cancellation));
        if (wanted.Stdout)
        {
            outgoing.Add(PumpAsync(await Open("stdout"), Stdout, socket, sending, cancellation));
        }

        if (wanted.Stderr && !wanted.Tty)
        {
            outgoing.Add(PumpAsync(await Open("stderr"), Stderr, socket, sending, cancellation));
        }

        SpdyStream? resize = wanted.Tty ? await Open("resize") : null;
        using CancellationTokenSource receiving = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task incoming = ReceiveAsync(socket, stdin, resize, receiving.Token);
        Task done = Task.WhenAll(outgoing);
        await Task.WhenAny(done, incoming);
        if (done.IsCompleted && socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
        {
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, "", cancellation);
            // Giving up the read aborts the connection, and with it what is still on its way: first let the client answer the close.
            receiving.CancelAfter(CloseTimeout);
        }
        else
        {
            await receiving.CancelAsync();
        }

        await incoming;
    }

    private static async Task PumpAsync(SpdyStream from, byte channel, WebSocket socket, SemaphoreSlim sending, CancellationToken cancellation)
    {
        await foreach (byte[] bytes in from.Incoming.Reader.ReadAllAsync(cancellation))
        {
            byte[] message = [channel, .. bytes];
            await sending.WaitAsync(cancellation);
            try
            {
                await socket.SendAsync(message, WebSocketMessageType.Binary, endOfMessage: true, cancellation);
            }
            finally
            {
                sending.Release();
            }
        }
    }

    // A message may come in parts; only its first byte is the channel.
    private static async Task ReceiveAsync(WebSocket socket, SpdyStream? stdin, SpdyStream? resize, CancellationToken cancellation)
    {
        byte[] buffer = new byte[BufferBytes];
        try
        {
            byte channel = 0;
            bool start = true;
            while (true)
            {
                ValueWebSocketReceiveResult part = await socket.ReceiveAsync(buffer.AsMemory(), cancellation);
                if (part.MessageType == WebSocketMessageType.Close)
                {
                    return;
                }

                ReadOnlyMemory<byte> bytes = buffer.AsMemory(0, part.Count);
                if (start && bytes.Length > 0)
                {
                    channel = bytes.Span[0];
                    bytes = bytes[1..];
                }

                start = part.EndOfMessage;
                switch (channel)
                {
                    case Stdin when stdin is not null && bytes.Length > 0:
                        await stdin.WriteAsync(bytes, cancellation);
                        break;
                    case Resize when resize is not null && bytes.Length > 0:
                        await resize.WriteAsync(bytes, cancellation);
                        break;
                    case CloseChannel when bytes.Length > 0 && bytes.Span[0] == Stdin && stdin is not null:
                        await stdin.CloseAsync(cancellation);
                        break;
                }
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // The client left, or the command ended.
        }
    }
}

using System.Buffers;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Kubelet.Server;

/// <summary>
/// Joins a client's upgraded connection to the runtime's streaming server. SPDY passes through as bytes. A WebSocket client speaks
/// newer subprotocols than the runtime: those are translated.
/// </summary>
internal static class StreamRelay
{
    private const int BufferBytes = 32 * 1024;

    public static Task RemoteCommandAsync(HttpContext context, Uri runtime, StreamSelection streams, CancellationToken cancellation)
    {
        if (!IsWebSocket(context))
        {
            return TunnelAsync(context, runtime, cancellation);
        }

        return WebSocketCommand.ServeAsync(context, runtime, streams, cancellation);
    }

    public static Task PortForwardAsync(HttpContext context, Uri runtime, CancellationToken cancellation) => IsWebSocket(context)
        ? WebSocketPortForward.ServeAsync(context, runtime, cancellation)
        : TunnelAsync(context, runtime, cancellation);

    /// <summary>Asks the runtime for an upgrade; what comes back is the answer's head and the open connection.</summary>
    public static async Task<(UpgradeAnswer Answer, NetworkStream Stream)> UpgradeAsync(
        Uri runtime, IEnumerable<(string Name, string Value)> headers, CancellationToken cancellation)
    {
        TcpClient client = new() { NoDelay = true };
        try
        {
            await client.ConnectAsync(runtime.Host, runtime.Port, cancellation);
            NetworkStream stream = client.GetStream();
            StringBuilder head = new($"POST {runtime.PathAndQuery} HTTP/1.1\r\nHost: {runtime.Authority}\r\nContent-Length: 0\r\n");
            foreach ((string name, string value) in headers)
            {
                head.Append(name).Append(": ").Append(value).Append("\r\n");
            }

            await stream.WriteAsync(Encoding.ASCII.GetBytes(head.Append("\r\n").ToString()), cancellation);
            return (await UpgradeAnswer.ReadAsync(stream, cancellation), stream);
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>Copies both ways until one side ends.</summary>
    public static async Task CopyBothAsync(Stream a, Stream b, CancellationToken cancellation)
    {
        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task there = CopyAsync(a, b, over.Token);
        Task back = CopyAsync(b, a, over.Token);
        await Task.WhenAny(there, back);
        await over.CancelAsync();
        await Task.WhenAll(there, back);
    }

    private static async Task CopyAsync(Stream from, Stream to, CancellationToken cancellation)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            while (await from.ReadAsync(buffer, cancellation) is var read and > 0)
            {
                await to.WriteAsync(buffer.AsMemory(0, read), cancellation);
                await to.FlushAsync(cancellation);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // A cut connection is how these streams end.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static bool IsWebSocket(HttpContext context) =>
        context.Request.Headers.Upgrade.ToString().Equals("websocket", StringComparison.OrdinalIgnoreCase);

    private static async Task TunnelAsync(HttpContext context, Uri runtime, CancellationToken cancellation)
    {
        List<(string, string)> headers = [("Connection", "Upgrade"), ("Upgrade", context.Request.Headers.Upgrade.ToString())];
        foreach (string? version in context.Request.Headers["X-Stream-Protocol-Version"])
        {
            headers.Add(("X-Stream-Protocol-Version", Clean(version)));
        }

        (UpgradeAnswer answer, NetworkStream stream) = await UpgradeAsync(runtime, headers, cancellation);
        await using (stream)
        {
            if (answer.Code != 101)
            {
                await KubeletServer.TextAsync(context, answer.Code, answer.Body);
                return;
            }

            context.Response.Headers.Upgrade = answer.Header("Upgrade");
            if (answer.Header("X-Stream-Protocol-Version") is { Length: > 0 } protocol)
            {
                context.Response.Headers["X-Stream-Protocol-Version"] = protocol;
            }

            await using Stream client = await context.Features.GetRequiredFeature<IHttpUpgradeFeature>().UpgradeAsync();
            await CopyBothAsync(client, stream, cancellation);
        }
    }

    private static string Clean(string? value) => new((value ?? "").Where(c => c is > ' ' and < (char)127).ToArray());
}

/// <summary>The head of an HTTP/1.1 answer to an upgrade, and the body when it is a refusal.</summary>
internal sealed record UpgradeAnswer(int Code, IReadOnlyDictionary<string, string> Headers, string Body)
{
    private const int HeadBytesMax = 16 * 1024;

    public string Header(string name) => Headers.GetValueOrDefault(name, "");

    /// <summary>Reads byte by byte up to the empty line: what follows belongs to the upgraded protocol.</summary>
    public static async Task<UpgradeAnswer> ReadAsync(Stream stream, CancellationToken cancellation)
    {
        byte[] head = new byte[HeadBytesMax];
        int length = 0;
        while (length < 4 || !head.AsSpan(length - 4, 4).SequenceEqual("\r\n\r\n"u8))
        {
            if (length == head.Length || await stream.ReadAsync(head.AsMemory(length, 1), cancellation) == 0)
            {
                throw new IOException("the container runtime's streaming server broke off the upgrade");
            }

            length++;
        }

        string[] lines = Encoding.ASCII.GetString(head, 0, length).Split("\r\n");
        Dictionary<string, string> headers = new(StringComparer.OrdinalIgnoreCase);
        foreach (string line in lines.Skip(1).Where(l => l.Contains(':', StringComparison.Ordinal)))
        {
            string[] parts = line.Split(':', 2);
            headers[parts[0].Trim()] = parts[1].Trim();
        }

        string[] status = lines[0].Split(' ', 3);
        int code = status.Length > 1 && int.TryParse(status[1], out int n) ? n : 502;
        string body = "";
        if (code != 101 && int.TryParse(headers.GetValueOrDefault("Content-Length"), out int size) && size is > 0 and < HeadBytesMax)
        {
            byte[] bytes = new byte[size];
            await stream.ReadExactlyAsync(bytes, cancellation);
            body = Encoding.UTF8.GetString(bytes).TrimEnd();
        }

        return new UpgradeAnswer(code, headers, body);
    }
}

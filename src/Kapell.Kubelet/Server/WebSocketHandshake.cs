using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Kubelet.Server;

/// <summary>
/// The server's half of RFC 6455 §4.2, by hand: the port-forward subprotocol has a slash in its name, which the framework refuses as
/// no token.
/// </summary>
internal static class WebSocketHandshake
{
    private const string Magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 §1.3
    private static readonly TimeSpan KeepAlive = TimeSpan.FromSeconds(30);

    public static IEnumerable<string> Protocols(HttpContext context) => context.Request.Headers["Sec-WebSocket-Protocol"]
        .SelectMany(h => (h ?? "").Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));

    public static async Task<WebSocket> AcceptAsync(HttpContext context, string protocol)
    {
        string key = context.Request.Headers["Sec-WebSocket-Key"].ToString();
#pragma warning disable CA5350 // The handshake's digest is SHA-1 by definition; nothing rests on it.
        string accept = Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + Magic)));
#pragma warning restore CA5350
        context.Response.Headers.Upgrade = "websocket";
        context.Response.Headers["Sec-WebSocket-Accept"] = accept;
        context.Response.Headers["Sec-WebSocket-Protocol"] = protocol;
        Stream stream = await context.Features.GetRequiredFeature<IHttpUpgradeFeature>().UpgradeAsync();
        return WebSocket.CreateFromStream(stream, new WebSocketCreationOptions { IsServer = true, KeepAliveInterval = KeepAlive });
    }
}

using System.Buffers;
using System.IO.Pipelines;
using System.Net.WebSockets;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>
/// A WebSocket (RFC 6455), for programs that read no body before it has ended, browsers most of all: each message of the client is JSON of the
/// request, each answer is a message. A refusal is one too, for the answer to the
/// request was that there is a WebSocket.
/// etcd: tmc/grpc-websocket-proxy, embed/serve.go createMux
/// </summary>
internal sealed class WebSocketChannel : IGatewayChannel
{
    private const string Bearer = "Bearer";
    private const string TokenCookie = "token";
    private const int ReadBytes = 4096;
    private static readonly TimeSpan FarewellPatience = TimeSpan.FromSeconds(2);

    private readonly HttpContext _context;
    private readonly WebSocket _socket;
    private readonly Pipe _requests = new();
    private readonly CancellationTokenSource _gone;
    private readonly TimeProvider _time;
    private readonly Task _reading;

    private WebSocketChannel(HttpContext context, WebSocket socket, TimeProvider time)
    {
        (_context, _socket, _time) = (context, socket, time);
        _gone = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        Gone = _gone.Token;
        _reading = ReadAllAsync();
    }

    public PipeReader Requests => _requests.Reader;

    public bool HasBegun { get; private set; }

    public CancellationToken Gone { get; }

    /// <summary>A browser can set no header of its own: it gives the token as a protocol, after the word Bearer, or as a cookie.</summary>
    public string? Authorization =>
        _context.Request.Cookies.TryGetValue(TokenCookie, out string? cookie) ? $"{Bearer} {cookie}"
        : _context.Request.Headers.SecWebSocketProtocol.ToString().Split(Bearer + ",", 2) is [_, { } token] ? $"{Bearer} {token.Trim(' ')}"
        : _context.Request.Headers.Authorization.ToString() is { Length: > 0 } given ? given : null;

    /// <param name="context">Of a request for a WebSocket.</param>
    /// <param name="time">For the farewell.</param>
    public static async Task<WebSocketChannel> AcceptAsync(HttpContext context, TimeProvider time)
    {
        // Who offers protocols wants to hear of one of them.
        bool bearer = context.Request.Headers.SecWebSocketProtocol.ToString().StartsWith(Bearer, StringComparison.Ordinal);
        return new WebSocketChannel(context, await context.WebSockets.AcceptWebSocketAsync(bearer ? Bearer : null), time);
    }

    public Task AnswerAsync(byte[] json) => SendAsync(json, Gone);

    public Task StreamAsync(byte[] line, CancellationToken cancellation)
    {
        HasBegun = true;
        return SendAsync(line.AsMemory(0, line.Length - 1), cancellation);
    }

    public Task RefuseAsync(Status status) =>
        Gone.IsCancellationRequested ? Task.CompletedTask
        : HasBegun ? StreamAsync(GatewayJson.StreamRefusal(status), Gone)
        : SendAsync(GatewayJson.Refusal(status), Gone);

    /// <summary>Says that this was all, and waits a little for the client's word: what was sent last must not be lost with the connection.</summary>
    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource late = new(FarewellPatience, _time);
        await _requests.Reader.CompleteAsync();
        try
        {
            if (_socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
            {
                await _socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, late.Token);
                await _reading.WaitAsync(late.Token);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // It is gone, or says nothing.
        }

        _socket.Abort();
        await _reading;
        _socket.Dispose();
        _gone.Dispose();
    }

    private async Task SendAsync(ReadOnlyMemory<byte> json, CancellationToken cancellation)
    {
        try
        {
            await _socket.SendAsync(json, WebSocketMessageType.Text, endOfMessage: true, cancellation);
        }
        catch (WebSocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    /// <summary>Until the client says that it has finished, or is gone. Never ahead of the exchange by more than the pipe holds.</summary>
    private async Task ReadAllAsync()
    {
        bool isRead = true;
        try
        {
            while (true)
            {
                ValueWebSocketReceiveResult received = await _socket.ReceiveAsync(_requests.Writer.GetMemory(ReadBytes), CancellationToken.None);
                if (received.MessageType == WebSocketMessageType.Close)
                {
                    break;
                }

                if (!isRead)
                {
                    // The exchange has ended: what comes until the farewell is for nobody.
                    continue;
                }

                _requests.Writer.Advance(received.Count);
                if (received.EndOfMessage)
                {
                    _requests.Writer.Write("\n"u8);
                }

                isRead = !(await _requests.Writer.FlushAsync()).IsCompleted;
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // The same as an end.
        }

        await _requests.Writer.CompleteAsync();
        await _gone.CancelAsync();
    }
}

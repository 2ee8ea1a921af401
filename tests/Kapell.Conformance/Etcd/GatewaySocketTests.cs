using System.Net.WebSockets;
using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>The API as JSON over a WebSocket: a message is a request, and an answer.</summary>
public sealed class GatewaySocketTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Watches_come_and_go_on_one_socket(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        using ClientWebSocket socket = await ConnectAsync(store, "watch");
        await SayAsync(socket, """{"create_request":{"key":"dw==","watch_id":"1"}}""");
        Assert.Equal("""{"result":{"header":{HEADER},"watch_id":"1","created":true}}""", await HearAsync(socket));
        await GatewayTests.PostAsync(store, "kv/put", """{"key":"dw==","value":"MQ=="}""");
        Assert.Equal(
            """{"result":{"header":{HEADER},"watch_id":"1","events":[{"kv":{"key":"dw==","create_revision":"2","mod_revision":"2","version":"1","value":"MQ=="}}]}}""",
            await HearAsync(socket));

        // Two in one message, and one in two pieces of a message.
        await SayAsync(socket, """{"cancel_request":{"watch_id":"1"}} {"create_request":{"key":"eA==","watch_id":"2"}}""");
        Assert.Equal("""{"result":{"header":{HEADER},"watch_id":"1","canceled":true}}""", await HearAsync(socket));
        Assert.Equal("""{"result":{"header":{HEADER},"watch_id":"2","created":true}}""", await HearAsync(socket));
        await SayAsync(socket, """{"cancel_request":{"wat""", isEnd: false);
        await SayAsync(socket, """ch_id":"2"}}""");
        Assert.Equal("""{"result":{"header":{HEADER},"watch_id":"2","canceled":true}}""", await HearAsync(socket));
        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, Cancellation);
        Assert.Null(await HearAsync(socket));
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_call_with_one_answer_ends_the_socket_after_it(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        foreach ((string path, string request, string answer) in new[]
        {
            ("kv/put", """{"key":"Zm9v","value":"YmFy"}""", """{"header":{HEADER}}"""),
            ("kv/range", """{"key":"Zm9v"}""", """{"header":{HEADER},"kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],"count":"1"}"""),
            ("kv/range", """{"key":""}""", "code=3 error=etcdserver: key is not provided message=etcdserver: key is not provided"),
            ("nothing", "{}", kind == StoreKind.Kapell ? "code=5 error=Not Found message=Not Found" : "Not Found"), // As of 3.5, and as of 3.4.
            ("watch", """{"create_request":{"key":7}}""", ""),
        })
        {
            using ClientWebSocket socket = await ConnectAsync(store, path);
            await SayAsync(socket, request);
            string? said = await HearAsync(socket);

            // The words of what parses JSON are each program's own; upstream's says nothing of a stream's.
            Assert.Equal((path, answer), (path, answer.Length == 0 ? "" : GatewayTests.InOrder(said ?? "")));
            if (answer.Length > 0 || kind == StoreKind.Kapell)
            {
                Assert.Null(await HearAsync(socket));
            }
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task A_token_comes_as_a_protocol_or_as_a_cookie(StoreKind kind)
    {
        using StoreProcess store = await StoreProcess.StartAsync(kind, Cancellation);
        await GatewayTests.PostAsync(store, "auth/user/add", """{"name":"root","password":"r"}""");
        await GatewayTests.PostAsync(store, "auth/user/grant", """{"user":"root","role":"root"}""");
        await GatewayTests.PostAsync(store, "auth/enable", "{}");
        (_, string login) = await GatewayTests.PostAsync(store, "auth/authenticate", """{"name":"root","password":"r"}""");
        string token = Regex.Match(login, "\"token\":\"([^\"]+)\"").Groups[1].Value;
        Assert.Contains("user name is empty", await AskAsync(static _ => { }), StringComparison.Ordinal);
        Assert.Contains("invalid auth token", await AskAsync(static o => o.SetRequestHeader("Cookie", "token=wrong")), StringComparison.Ordinal);
        string?[] said =
        [
            await AskAsync(o => o.SetRequestHeader("Cookie", "a=b; token=" + token)),
            await AskAsync(o =>
            {
                o.AddSubProtocol("Bearer");
                o.AddSubProtocol(token);
            }),
        ];

        // Before 3.5 etcd took the word Bearer for a part of the token.
        Assert.All(said, s => Assert.True(
            s == """{"header":{HEADER}}""" || (kind == StoreKind.Upstream && s?.Contains("invalid auth token", StringComparison.Ordinal) == true), s));

        async Task<string?> AskAsync(Action<ClientWebSocketOptions> configure)
        {
            using ClientWebSocket socket = await ConnectAsync(store, "kv/put", configure);
            await SayAsync(socket, """{"key":"YQ=="}""");
            return await HearAsync(socket);
        }
    }

    /// <summary>A page may open one to everybody, and the browser sends the cookies along. etcd: takes them all.</summary>
    [Fact]
    public async Task Pages_of_other_origins_are_kept_out()
    {
        using StoreProcess store = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, null, "--cors", "http://good:81");
        WebSocketException refused = await Assert.ThrowsAsync<WebSocketException>(() => ConnectAsync(store, "kv/range", static o => o.SetRequestHeader("Origin", "http://bad")));
        Assert.Contains("403", refused.Message, StringComparison.Ordinal);
        using ClientWebSocket socket = await ConnectAsync(store, "kv/range", static o => o.SetRequestHeader("Origin", "http://good:81"));
        await SayAsync(socket, """{"key":"YQ=="}""");
        Assert.Equal("""{"header":{HEADER}}""", await HearAsync(socket));
    }

    /// <summary>Whoever says more than a request may be is refused, and the server does not keep it.</summary>
    [Fact]
    public async Task A_request_without_end_is_refused()
    {
        using StoreProcess store = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using ClientWebSocket socket = await ConnectAsync(store, "kv/put");
        string piece = new('a', 1 << 20);
        await SayAsync(socket, "{\"key\":\"" + piece, isEnd: false);
        Task<string?> hearing = HearAsync(socket);
        while (!hearing.IsCompleted)
        {
            try
            {
                await SayAsync(socket, piece, isEnd: false);
            }
            catch (WebSocketException)
            {
                break; // It has hung up.
            }
        }

        Assert.Contains("request body too large", await hearing, StringComparison.Ordinal);
    }

    private static async Task<ClientWebSocket> ConnectAsync(StoreProcess store, string path, Action<ClientWebSocketOptions>? configure = null)
    {
        ClientWebSocket socket = new();
        try
        {
            configure?.Invoke(socket.Options);
            await socket.ConnectAsync(new Uri($"{store.Url.Replace("http:", "ws:", StringComparison.Ordinal)}/v3/{path}"), Cancellation);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static Task SayAsync(ClientWebSocket socket, string json, bool isEnd = true) =>
        socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, isEnd, Cancellation);

    /// <summary>The next message; null at the end.</summary>
    private static async Task<string?> HearAsync(ClientWebSocket socket)
    {
        byte[] buffer = new byte[1 << 16];
        int length = 0;
        try
        {
            while (true)
            {
                WebSocketReceiveResult received = await socket.ReceiveAsync(new ArraySegment<byte>(buffer, length, buffer.Length - length), Cancellation);
                length += received.Count;
                if (received.MessageType == WebSocketMessageType.Close)
                {
                    return null;
                }

                if (received.EndOfMessage)
                {
                    return GatewayTests.AtRest(Encoding.UTF8.GetString(buffer, 0, length));
                }
            }
        }
        catch (WebSocketException)
        {
            return null; // Upstream's says no farewell.
        }
    }
}

using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Etcd.Tests.Sockets;

/// <summary>The transport with sockets of this machine; bytes instead of frames.</summary>
public sealed class LoopTransportTests : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private const int FullRoom = 128 << 10; // All that the transport reads at once.
    private static readonly byte[] Preface = "PRI "u8.ToArray();
    private readonly FakeTimeProvider _time = new();
    private readonly LoopTransport _transport;
    private IConnectionListener? _listener;

    public LoopTransportTests() => _transport = new LoopTransport(Options.Create(new SocketTransportOptions()), NullLoggerFactory.Instance, _time, static _ => true);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        if (_listener is not null)
        {
            await _listener.DisposeAsync();
        }

        _transport.Dispose();
    }

    [Fact]
    public async Task What_comes_is_given_in_order_and_what_is_left_comes_again()
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        Words taker = new();
        Task reading = Begin(connection, taker);
        foreach (string piece in new[] { "one tw", "o thr", "e", "e ", "four " })
        {
            await client.SendAsync(Encoding.ASCII.GetBytes(piece), Cancellation);
            await LoopHasLookedAsync();
        }

        client.Shutdown(SocketShutdown.Send);
        await reading.WaitAsync(Patience, Cancellation);
        Assert.Equal(["PRI", "one", "two", "three", "four"], taker.Taken);
        await ClosedAsync(connection);
    }

    [Fact]
    public async Task Large_pieces_of_many_connections_lose_nothing()
    {
        List<Task> clients = [];
        for (int number = 0; number < 20; number++)
        {
            byte[] sent = [.. Preface, .. Encoding.ASCII.GetBytes(string.Join(' ', Enumerable.Range(number, 100_000))), (byte)' '];
            Socket client = await ConnectAsync();
            clients.Add(Task.Run(
                async () =>
                {
                    for (int at = 0; at < sent.Length;)
                    {
                        at += await client.SendAsync(sent.AsMemory(at), SocketFlags.None, Cancellation);
                    }

                    client.Dispose();
                }, Cancellation));
        }

        List<int> first = [];
        for (int i = 0; i < clients.Count; i++)
        {
            await using ConnectionContext connection = await AcceptAsync();
            Words taker = new();
            await Begin(connection, taker).WaitAsync(Patience, Cancellation);
            Assert.Equal(100_001, taker.Taken.Count);
            int number = int.Parse(taker.Taken[1], System.Globalization.CultureInfo.InvariantCulture);
            Assert.Equal(Enumerable.Range(number, 100_000).Select(static n => $"{n}"), taker.Taken.Skip(1));
            first.Add(number);
        }

        Assert.Equal(Enumerable.Range(0, clients.Count), first.Order());
        await Task.WhenAll(clients);
    }

    [Fact]
    public async Task The_first_bytes_may_come_one_by_one()
    {
        using Socket client = await ConnectAsync();
        foreach (byte one in Preface.SkipLast(1))
        {
            await client.SendAsync(new[] { one }, Cancellation);
            await LoopHasLookedAsync();
        }

        await client.SendAsync(Preface.TakeLast(1).ToArray(), Cancellation);
        Assert.IsType<LoopConnection>(await AcceptAsync());
    }

    [Theory]
    [InlineData("GET / HTTP/1.1\r\n")]
    [InlineData("PRx")]
    [InlineData("\x16\x03\x01")]
    public async Task What_is_not_HTTP_2_is_another_transports_with_all_that_came(string first)
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync(Encoding.Latin1.GetBytes(first), Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        Assert.IsNotType<LoopConnection>(connection);
        System.IO.Pipelines.ReadResult read = await connection.Transport.Input.ReadAtLeastAsync(first.Length, Cancellation);
        Assert.Equal(first, Encoding.Latin1.GetString(read.Buffer.ToArray()));
        await connection.Transport.Output.WriteAsync("answer"u8.ToArray(), Cancellation);
        byte[] answer = new byte[6];
        Assert.Equal(6, await client.ReceiveAsync(answer, Cancellation));
    }

    [Fact]
    public async Task Who_says_nothing_for_half_a_minute_is_ended()
    {
        using Socket silent = await ConnectAsync();
        using Socket half = await ConnectAsync();
        await half.SendAsync("PR"u8.ToArray(), Cancellation);
        using Socket speaks = await ConnectAsync();
        await speaks.SendAsync(Preface, Cancellation);
        ConnectionContext connection = await AcceptAsync();
        _time.Advance(TimeSpan.FromSeconds(20));
        await LoopHasLookedAsync();
        Assert.Equal(0, silent.Available + half.Available);
        Assert.True(silent.Poll(0, SelectMode.SelectWrite) && !silent.Poll(0, SelectMode.SelectRead));
        _time.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal(0, await silent.ReceiveAsync(new byte[1], Cancellation).AsTask().WaitAsync(Patience, Cancellation));
        await EndAsync(half);
        Assert.False(connection.ConnectionClosed.IsCancellationRequested);
    }

    [Fact]
    public async Task Who_does_not_read_gets_all_of_it_later()
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        _ = Begin(connection, new Words());
        byte[] sent = new byte[32 << 20];
        new Random(1).NextBytes(sent);
        Task<bool> sending = ((IHttp2Sink)connection).SendAsync(sent).AsTask();
        Assert.False(sending.IsCompleted);
        byte[] received = new byte[sent.Length];
        for (int at = 0; at < received.Length;)
        {
            at += await client.ReceiveAsync(received.AsMemory(at), Cancellation);
        }

        Assert.True(await sending.WaitAsync(Patience, Cancellation));
        Assert.Equal(sent, received);
    }

    [Fact]
    public async Task An_abort_ends_who_reads_and_who_waits_for_room()
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        Task reading = Begin(connection, new Words());
        Task<bool> sending = ((IHttp2Sink)connection).SendAsync(new byte[32 << 20]).AsTask();
        connection.Abort();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.WaitAsync(Patience, Cancellation));
        await Assert.ThrowsAnyAsync<IOException>(() => sending.WaitAsync(Patience, Cancellation));
        await ClosedAsync(connection);
    }

    [Fact]
    public async Task A_connection_that_is_given_up_while_it_waits_for_room_keeps_nobody()
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        ConnectionContext connection = await AcceptAsync();
        Task<bool> sending = ((IHttp2Sink)connection).SendAsync(new byte[32 << 20]).AsTask();
        await connection.DisposeAsync().AsTask().WaitAsync(Patience, Cancellation);
        await Assert.ThrowsAnyAsync<Exception>(() => sending.WaitAsync(Patience, Cancellation));
        Assert.True(sending.IsFaulted);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(FullRoom)]
    public async Task What_the_taker_throws_ends_its_connection_alone(int afterBytes)
    {
        using Socket first = await ConnectAsync();
        using Socket second = await ConnectAsync();
        await first.SendAsync(Preface, Cancellation);
        await using ConnectionContext throws = await AcceptAsync();
        await second.SendAsync(Preface, Cancellation);
        await using ConnectionContext stays = await AcceptAsync();
        Words taker = new();
        Task reading = Begin(stays, taker);
        Task ending = Begin(throws, new Throws(afterBytes));
        Task sending = first.SendAsync(new byte[2 * afterBytes], Cancellation).AsTask();
        await Assert.ThrowsAsync<InvalidDataException>(() => ending.WaitAsync(Patience, Cancellation));
        await sending.ContinueWith(static _ => { }, Cancellation, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        await second.SendAsync("more "u8.ToArray(), Cancellation);
        second.Shutdown(SocketShutdown.Send);
        await reading.WaitAsync(Patience, Cancellation);
        Assert.Equal(["PRI", "more"], taker.Taken);
    }

    [Fact]
    public async Task A_reader_is_woken_with_what_it_left()
    {
        using Socket client = await ConnectAsync();
        await client.SendAsync("PRI half"u8.ToArray(), Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        Words taker = new() { EndsWhenWoken = true };
        Task reading = Begin(connection, taker);
        await LoopHasLookedAsync();
        Assert.False(reading.IsCompleted);
        ((LoopConnection)connection).Wake();
        await reading.WaitAsync(Patience, Cancellation);
        Assert.Equal("half", taker.Left);
    }

    [Fact]
    public async Task A_client_that_leaves_before_anybody_reads_is_noticed()
    {
        Socket client = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        await using ConnectionContext connection = await AcceptAsync();
        client.Dispose();
        await ClosedAsync(connection);
    }

    [Fact]
    public async Task A_transport_that_ends_takes_its_connections_along()
    {
        using Socket client = await ConnectAsync();
        using Socket silent = await ConnectAsync();
        await client.SendAsync(Preface, Cancellation);
        ConnectionContext connection = await AcceptAsync();
        Task reading = Begin(connection, new Words());
        await _listener!.DisposeAsync();
        Assert.Null(await _listener.AcceptAsync(Cancellation));
        await EndAsync(silent);
        _transport.Dispose();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.WaitAsync(Patience, Cancellation));
        await connection.DisposeAsync().AsTask().WaitAsync(Patience, Cancellation);
        await EndAsync(client);
    }

    [Fact]
    public async Task A_port_that_is_taken_is_said_to_be()
    {
        using Socket client = await ConnectAsync();
        await Assert.ThrowsAsync<AddressInUseException>(() => _transport.BindAsync(_listener!.EndPoint, Cancellation).AsTask());
    }

    private static Task Begin(ConnectionContext connection, IByteTaker taker) => ((LoopConnection)connection).ReadAsync(taker);

    private static async Task ClosedAsync(ConnectionContext connection) =>
        await Task.Delay(Timeout.Infinite, connection.ConnectionClosed).WaitAsync(Patience, Cancellation).ContinueWith(
            t => Assert.True(t.IsCanceled), Cancellation, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    /// <summary>The server has ended it, one way or the other.</summary>
    private static async Task EndAsync(Socket client)
    {
        try
        {
            Assert.Equal(0, await client.ReceiveAsync(new byte[1], Cancellation).AsTask().WaitAsync(Patience, Cancellation));
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }
    }

    private async Task<Socket> ConnectAsync()
    {
        _listener ??= await _transport.BindAsync(new IPEndPoint(IPAddress.Loopback, 0), Cancellation);
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(_listener.EndPoint, Cancellation);
        return socket;
    }

    /// <summary>
    /// At what had come before: this machine's kernel has it with the receiver when it is sent, and a connection that was made later has been served.
    /// </summary>
    private async Task LoopHasLookedAsync()
    {
        for (int i = 0; i < Environment.ProcessorCount; i++)
        {
            // One for each loop.
            using Socket later = await ConnectAsync();
            await later.SendAsync(Preface, Cancellation);
            await (await AcceptAsync()).DisposeAsync();
        }
    }

    private async Task<ConnectionContext> AcceptAsync() =>
        await _listener!.AcceptAsync(Cancellation).AsTask().WaitAsync(Patience, Cancellation) ?? throw new InvalidOperationException("the listener has ended");

    /// <summary>Takes words that a space ends.</summary>
    private sealed class Words : IByteTaker
    {
        public List<string> Taken { get; } = [];

        public bool EndsWhenWoken { get; init; }

        public string? Left { get; private set; }

        public bool Take(ref ReadOnlySequence<byte> bytes, bool isWake)
        {
            while (bytes.PositionOf((byte)' ') is { } end)
            {
                Taken.Add(Encoding.ASCII.GetString(bytes.Slice(0, end)));
                bytes = bytes.Slice(bytes.GetPosition(1, end));
            }

            Left = Encoding.ASCII.GetString(bytes);
            return !(isWake && EndsWhenWoken);
        }
    }

    /// <summary>Leaves everything until there is so much.</summary>
    private sealed class Throws(int afterBytes) : IByteTaker
    {
        public bool Take(ref ReadOnlySequence<byte> bytes, bool isWake) =>
            bytes.Length < afterBytes ? true : throw new InvalidDataException("nonsense");
    }
}

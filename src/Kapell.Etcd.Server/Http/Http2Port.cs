using System.Buffers;
using System.IO.Pipelines;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Kapell.Etcd.Server.Http;

/// <summary>
/// One port serves HTTP/2 and HTTP/1.1, with and without TLS: looks at the first bytes of a connection. HTTP/2 is served
/// here; the rest is Kestrel's.
/// </summary>
/// <param name="keepAlive">Null: who says nothing is never asked.</param>
internal sealed class Http2Port(TimeProvider time, int streamsMax, KeepAlivePolicy? keepAlive)
{
    private const int StreamsMax = 100_000; // Each costs memory: no client is believed to need more.
    private readonly HeldPongs _pongs = new(time);

    /// <summary>Set before the port opens.</summary>
    public GrpcServer Server { get; set; } = null!;

    /// <summary>Connections wait for it, as with etcd those to a member that has not joined yet; HTTP/1.1, and so health and metrics, does not.</summary>
    public Task Opened { get; init; } = Task.CompletedTask;

    public async Task RunAsync(ConnectionDelegate next, ConnectionContext connection)
    {
        bool http2 = connection is IHttp2Transport; // It has said so.
        CancellationToken stopping = connection.Features.Get<IConnectionLifetimeNotificationFeature>()?.ConnectionClosedRequested ?? CancellationToken.None;
        if (!http2)
        {
            using CancellationTokenSource late = new(FirstBytes.Timeout, time);
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(late.Token, stopping);
            try
            {
                http2 = await IsHttp2Async(connection.Transport.Input, over.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or IOException)
            {
                // Nobody said anything: a port scan, or a connection kept for later and forgotten.
                return;
            }
        }

        if (!http2)
        {
            await next(connection);
            return;
        }

        if (!Opened.IsCompleted)
        {
            using CancellationTokenSource gone = CancellationTokenSource.CreateLinkedTokenSource(connection.ConnectionClosed, stopping);
            await Opened.WaitAsync(gone.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (!Opened.IsCompletedSuccessfully)
            {
                return;
            }
        }

        Http2Options options = new() { Begin = Server.Begin, StreamsMax = Math.Min(streamsMax, StreamsMax), KeepAlive = keepAlive, Pongs = _pongs, Stopping = stopping };
        await new Http2Connection(connection, options, time).RunAsync();
    }

    private static async Task<bool> IsHttp2Async(PipeReader input, CancellationToken cancellation)
    {
        while (true)
        {
            ReadResult result = await input.ReadAsync(cancellation);
            bool? decided = Decide(result.Buffer);
            if (decided is null && result.IsCompleted)
            {
                decided = false;
            }

            // Nothing is consumed; only when more is needed does the next read wait for more.
            input.AdvanceTo(result.Buffer.Start, decided is null ? result.Buffer.End : result.Buffer.Start);
            if (decided is { } known)
            {
                return known;
            }
        }
    }

    private static bool? Decide(ReadOnlySequence<byte> buffer)
    {
        Span<byte> first = stackalloc byte[(int)Math.Min(buffer.Length, FirstBytes.Count)];
        buffer.Slice(0, first.Length).CopyTo(first);
        return FirstBytes.AreHttp2(first);
    }
}

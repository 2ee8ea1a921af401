using System.Buffers;
using System.Net;
using System.Threading.Channels;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// One stream to one member: connects, sends what waits, many messages in one write, and connects anew when it breaks. Whoever offers
/// a message never waits; when too many wait, the message is dropped and the member reported unreachable.
/// </summary>
internal sealed class PeerLane : IAsyncDisposable
{
    private const int WaitingMax = 4096;
    private const int BatchBytes = 1 << 20;
    private static readonly TimeSpan RetryMin = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan RetryMax = TimeSpan.FromMilliseconds(500);

    // A peer that takes nothing for so long is as good as cut off; a new connection may take another way.
    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(2);

    private readonly PeerContext _context;
    private readonly MemberId _to;
    private readonly Lane _lane;
    private readonly Func<IReadOnlyList<string>> _urls;
    private readonly Channel<Message> _waiting;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;
    private int _nextUrl;
    private string? _lastTrouble;

    public PeerLane(PeerContext context, MemberId to, Lane lane, Func<IReadOnlyList<string>> urls)
    {
        (_context, _to, _lane, _urls) = (context, to, lane, urls);
        _waiting = Channel.CreateBounded<Message>(new BoundedChannelOptions(WaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
        _running = Task.Run(RunAsync);
    }

    public bool IsConnected { get; private set; }

    /// <summary>False when it was dropped.</summary>
    public bool Offer(Message message) => _waiting.Writer.TryWrite(message);

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _waiting.Writer.TryComplete();
        await _running;
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        TimeSpan retry = RetryMin;
        while (!_stopping.IsCancellationRequested)
        {
            bool wasConnected = false;
            try
            {
                using HttpResponseMessage response = await ConnectAsync();
                await using Stream stream = await response.Content.ReadAsStreamAsync(_stopping.Token);
                (wasConnected, IsConnected, retry) = (true, true, RetryMin);
                Say(null);
                await SendAllAsync(stream);
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException or ObjectDisposedException)
            {
                Say(TlsTrouble.Describe(e));
            }

            IsConnected = false;
            if (wasConnected)
            {
                _context.Events.Disconnected(_to);
            }

            DropWaiting();
            try
            {
                await Task.Delay(retry, _context.Time, _stopping.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            retry = retry * 2 < RetryMax ? retry * 2 : RetryMax;
        }
    }

    private async Task<HttpResponseMessage> ConnectAsync()
    {
        IReadOnlyList<string> urls = _urls();
        if (urls.Count == 0)
        {
            throw new IOException("no peer address is known");
        }

        string url = urls[_nextUrl++ % urls.Count];
        using HttpRequestMessage request = _context.Request(HttpMethod.Get, url, $"{PeerProtocol.StreamPath}/{_lane}", _to);
        request.Headers.TryAddWithoutValidation("Connection", "Upgrade");
        request.Headers.TryAddWithoutValidation("Upgrade", PeerProtocol.UpgradeName);
        using CancellationTokenSource timeout = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        timeout.CancelAfter(ConnectTimeout);
        HttpResponseMessage response = await _context.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, timeout.Token);
        if (response.StatusCode == HttpStatusCode.SwitchingProtocols)
        {
            return response;
        }

        if (response.StatusCode == HttpStatusCode.Gone)
        {
            _context.Events.RemovedHere();
        }

        string why = $"{url} answered {(int)response.StatusCode}: {await _context.ReasonAsync(response, timeout.Token)}";
        response.Dispose();
        throw new IOException(why);
    }

    private async Task SendAllAsync(Stream stream)
    {
        using CancellationTokenSource broken = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        Task watching = WatchForEndAsync(stream, broken);
        ArrayBufferWriter<byte> batch = new(64 * 1024);
        try
        {
            while (await _waiting.Reader.WaitToReadAsync(broken.Token))
            {
                batch.ResetWrittenCount();
                while (batch.WrittenCount < BatchBytes && _waiting.Reader.TryRead(out Message? message))
                {
                    PeerFrame.Write(batch, message);
                }

                await stream.WriteAsync(batch.WrittenMemory, broken.Token).AsTask().WaitAsync(WriteTimeout, _context.Time, broken.Token);
                _context.Sent(batch.WrittenCount);
                if (batch.Capacity > 4 * BatchBytes)
                {
                    batch = new ArrayBufferWriter<byte>(64 * 1024);
                }
            }
        }
        catch (TimeoutException)
        {
            throw new IOException($"it took nothing for {WriteTimeout.TotalSeconds} s");
        }
        catch (OperationCanceledException) when (!_stopping.IsCancellationRequested)
        {
            throw new IOException("the other side closed the stream");
        }
        finally
        {
            await broken.CancelAsync();
            await watching;
        }
    }

    // Nothing ever comes this way; an end or an error means that the stream is broken, and it is known at once.
    private static async Task WatchForEndAsync(Stream stream, CancellationTokenSource broken)
    {
        try
        {
            byte[] nothing = new byte[1];
            while (await stream.ReadAsync(nothing, broken.Token) > 0)
            {
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The same as an end.
        }

        await broken.CancelAsync();
    }

    private void DropWaiting()
    {
        bool any = false;
        while (_waiting.Reader.TryRead(out _))
        {
            any = true;
        }

        if (any)
        {
            _context.Events.Unreachable(_to);
        }
    }

    // Once for each new state, not at each try.
    private void Say(string? trouble)
    {
        if (trouble == _lastTrouble && trouble is not null)
        {
            return;
        }

        _lastTrouble = trouble;
        if (trouble is null)
        {
            Log.PeerConnected(_context.Logger, _to, _lane);
        }
        else
        {
            Log.PeerTrouble(_context.Logger, _to, _lane, trouble);
        }
    }
}

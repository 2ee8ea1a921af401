using System.Buffers;
using System.Net;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http;
using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Peers;

/// <summary>
/// One stream to one member: connects, and connects anew when it breaks. Whoever offers messages never waits: they are written to the
/// stream by the thread that offers them if it takes them at once, else when it does, all that came meanwhile in one write. When too much
/// waits, a message is dropped and the member reported unreachable.
/// </summary>
internal sealed class PeerLane : IAsyncDisposable
{
    private const int WaitingBytesMax = 16 << 20;
    private const int KeptCapacity = 4 << 20;
    private const int FirstCapacity = 64 * 1024;
    private const long NotConnected = long.MinValue;
    private static readonly TimeSpan RetryMin = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan RetryMax = TimeSpan.FromMilliseconds(500);

    // A peer that takes nothing for so long is as good as cut off; a new connection may take another way.
    private static readonly TimeSpan WriteTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan WriteLook = TimeSpan.FromSeconds(1);

    // To the first answer, for which a busy machine may need seconds: who gives up too early begins again and again, most of all with TLS.
    // Something may take connections for a member that is not there yet. etcd: rafthttp ConnReadTimeout
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan TlsConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly PeerContext _context;
    private readonly MemberId _to;
    private readonly Lane _lane;
    private readonly Func<IReadOnlyList<string>> _urls;
    private readonly PeerCounts _counts;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;
    private readonly Lock _lock = new(); // Guards the fields below.
    private ArrayBufferWriter<byte> _filling = new(FirstCapacity);
    private ArrayBufferWriter<byte> _sending = new(FirstCapacity);
    private Connection? _connection;
    private volatile bool _takesRenewals;
    private bool _isSending;
    private long _sendingSince;
    private int _nextUrl;
    private string? _lastTrouble;
    private long _connectedSince = NotConnected; // A timestamp.

    public PeerLane(PeerContext context, MemberId to, Lane lane, Func<IReadOnlyList<string>> urls, PeerCounts counts)
    {
        (_context, _to, _lane, _urls, _counts) = (context, to, lane, urls, counts);
        _running = Task.Run(RunAsync);
    }

    public bool IsConnected => ConnectedFor is not null;

    /// <summary>For how long there has been a connection without a break; null while there is none.</summary>
    public TimeSpan? ConnectedFor => Interlocked.Read(ref _connectedSince) is var since and not NotConnected ? _context.Time.GetElapsedTime(since) : null;

    /// <summary>There is a connection, to a member that understands requests to renew leases.</summary>
    public bool TakesRenewals => _takesRenewals && IsConnected;

    /// <summary>Takes the message for the next <see cref="Flush"/>; false when it was dropped.</summary>
    public bool Offer(Message message) => Offer(message, PeerFrame.Write);

    /// <summary>As for Raft's messages. Only if <see cref="TakesRenewals"/>.</summary>
    public bool Offer(LeasesRenewal request) => Offer(request, PeerFrame.Write);

    /// <summary>As for Raft's messages. To who has asked.</summary>
    public bool Offer(LeasesRenewed answer) => Offer(answer, PeerFrame.Write);

    private bool Offer<T>(T message, Action<IBufferWriter<byte>, T> write)
    {
        lock (_lock)
        {
            if (_filling.WrittenCount > WaitingBytesMax)
            {
                return false;
            }

            write(_filling, message);
            return true;
        }
    }

    /// <summary>Sends what was offered, as far as the stream takes it now; the rest follows by itself.</summary>
    public void Flush()
    {
        lock (_lock)
        {
            if (_connection is { } connection && !_isSending && TrySwap())
            {
                _isSending = true;
                connection.Sending = SendAsync(connection);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _running;
        _stopping.Dispose();
    }

    private bool TrySwap()
    {
        if (_filling.WrittenCount == 0)
        {
            return false;
        }

        (_filling, _sending) = (_sending, _filling);
        _filling.ResetWrittenCount();
        if (_filling.Capacity > KeptCapacity)
        {
            _filling = new ArrayBufferWriter<byte>(FirstCapacity);
        }

        _sendingSince = _context.Time.GetTimestamp();
        return true;
    }

    private async Task SendAsync(Connection connection)
    {
        try
        {
            while (true)
            {
                await connection.Stream.WriteAsync(_sending.WrittenMemory, connection.Broken.Token);
                _counts.Sent(_sending.WrittenCount);
                lock (_lock)
                {
                    if (!TrySwap())
                    {
                        _isSending = false;
                        return;
                    }
                }
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            connection.Trouble ??= e.Message;
            _counts.SendFailed();
            await connection.Broken.CancelAsync();
        }
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
                (wasConnected, retry) = (true, RetryMin);
                _takesRenewals = response.Headers.TryGetValues(PeerProtocol.TakesHeader, out IEnumerable<string>? takes) && takes.Contains(PeerProtocol.TakesRenewals);
                Interlocked.Exchange(ref _connectedSince, _context.Time.GetTimestamp());
                Say(null);
                await ServeAsync(stream);
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException or ObjectDisposedException)
            {
                Say(TlsTrouble.Describe(e));
            }

            Interlocked.Exchange(ref _connectedSince, NotConnected);
            if (wasConnected)
            {
                _counts.Disconnected();
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

    // A certificate that a member of ours refuses after the handshake of TLS 1.3 shows only in this: the platform sends no alert.
    private async Task<HttpResponseMessage> AnswerAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        try
        {
            return await _context.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.ResponseEnded && request.RequestUri?.Scheme == Uri.UriSchemeHttps)
        {
            throw new IOException("the connection ended before an answer; it may be that this member's certificate was refused (remote error: tls: bad certificate)");
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
        timeout.CancelAfter(request.RequestUri?.Scheme == Uri.UriSchemeHttps ? TlsConnectTimeout : ConnectTimeout);
        HttpResponseMessage response = await AnswerAsync(request, timeout.Token);
        if (response.StatusCode == HttpStatusCode.SwitchingProtocols)
        {
            return response;
        }

        if (response.StatusCode == HttpStatusCode.Gone)
        {
            _context.Events.RemovedHere();
        }

        // Etcd's members have no such path.
        string hint = response.StatusCode == HttpStatusCode.NotFound ? "; does it still run etcd? All members must run Kapell, the two cannot talk to each other" : "";
        string why = $"{url} answered {(int)response.StatusCode}: {await _context.ReasonAsync(response, timeout.Token)}{hint}";
        response.Dispose();
        throw new IOException(why);
    }

    /// <summary>Until the stream breaks, which it always ends with.</summary>
    private async Task ServeAsync(Stream stream)
    {
        using CancellationTokenSource broken = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        Connection connection = new(stream, broken);
        lock (_lock)
        {
            _connection = connection;
        }

        Task watching = WatchForEndAsync(connection);
        Flush();
        try
        {
            while (true)
            {
                await Task.Delay(WriteLook, _context.Time, broken.Token);
                lock (_lock)
                {
                    if (_isSending && _context.Time.GetElapsedTime(_sendingSince) > WriteTimeout)
                    {
                        connection.Trouble = $"it took nothing for {WriteTimeout.TotalSeconds} s";
                        break;
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Broken, or the end of this member.
        }

        lock (_lock)
        {
            _connection = null;
        }

        await broken.CancelAsync();
        await stream.DisposeAsync();
        await connection.Sending;
        await watching;
        lock (_lock)
        {
            _isSending = false;
        }

        throw new IOException(connection.Trouble ?? "the other side closed the stream");
    }

    // Nothing ever comes this way; an end or an error means that the stream is broken, and it is known at once.
    private static async Task WatchForEndAsync(Connection connection)
    {
        try
        {
            byte[] nothing = new byte[1];
            while (await connection.Stream.ReadAsync(nothing, connection.Broken.Token) > 0)
            {
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The same as an end.
        }

        await connection.Broken.CancelAsync();
    }

    private void DropWaiting()
    {
        bool any;
        lock (_lock)
        {
            any = _filling.WrittenCount > 0;
            _filling.ResetWrittenCount();
        }

        if (any)
        {
            _counts.SendFailed();
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

    /// <summary>One stream, from its opening to its break.</summary>
    private sealed class Connection(Stream stream, CancellationTokenSource broken)
    {
        public Stream Stream => stream;

        public CancellationTokenSource Broken => broken;

        public Task Sending { get; set; } = Task.CompletedTask;

        public string? Trouble { get; set; }
    }
}

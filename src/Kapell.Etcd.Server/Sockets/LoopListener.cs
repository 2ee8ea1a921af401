using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Kapell.Etcd.Server.Sockets;

/// <summary>
/// Ports on which HTTP/2 comes without TLS: such connections are read by a few <see cref="SocketLoop"/>s, all others by Kestrel's transport. That one
/// takes each socket through a pipe and a queue of its own, and asks it twice: half of what a small call costs.
/// </summary>
/// <param name="plain">Whether HTTP/2 may come there without TLS.</param>
internal sealed class LoopTransport(IOptions<SocketTransportOptions> options, ILoggerFactory logs, TimeProvider time, Func<EndPoint, bool> plain)
    : IConnectionListenerFactory, IConnectionListenerFactorySelector, IDisposable
{
    private const int LoopsMax = 4;
    private readonly SocketLoop[] _loops = [.. Enumerable.Range(0, Math.Clamp(Environment.ProcessorCount / 2, 1, LoopsMax)).Select(i => new SocketLoop(i, time))];

    /// <summary>After Kestrel's services: of several that could bind an address the last one does.</summary>
    public static void Use(IServiceCollection services, TimeProvider time, Func<EndPoint, bool> plain) =>
        services.AddSingleton<IConnectionListenerFactory>(provider => new LoopTransport(
            provider.GetRequiredService<IOptions<SocketTransportOptions>>(), provider.GetRequiredService<ILoggerFactory>(), time, plain));

    public bool CanBind(EndPoint endpoint) => plain(endpoint);

    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket? socket = null;
        try
        {
            socket = options.Value.CreateBoundListenSocket(endpoint);
            socket.Listen(options.Value.Backlog);
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            if (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                throw new AddressInUseException(e.Message, e);
            }

            throw;
        }

        return ValueTask.FromResult<IConnectionListener>(new LoopListener(socket, _loops, options.Value, logs, time));
    }

    public void Dispose() => Array.ForEach(_loops, static l => l.Dispose());
}

/// <summary>Takes connections, and gives out those that have said what they speak.</summary>
internal sealed class LoopListener : IConnectionListener
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan TooManyWait = TimeSpan.FromMilliseconds(100);

    private readonly Socket _socket;
    private readonly SocketLoop[] _loops;
    private readonly bool _noDelay;
    private readonly TimeProvider _time;
    private readonly SocketConnectionContextFactory _others;
    private readonly Channel<ConnectionContext> _decided = Channel.CreateUnbounded<ConnectionContext>();
    private readonly ConcurrentDictionary<LoopConnection, long> _undecided = new(); // And when they came, a timestamp.
    private readonly CancellationTokenSource _stopping = new();
    private readonly ITimer _looks;
    private readonly Task _accepting;
    private uint _accepted;

    public LoopListener(Socket socket, SocketLoop[] loops, SocketTransportOptions options, ILoggerFactory logs, TimeProvider time)
    {
        (_socket, _loops, _noDelay, _time) = (socket, loops, options.NoDelay, time);
        EndPoint = socket.LocalEndPoint!;
        SocketConnectionFactoryOptions others = new()
        {
            UnsafePreferInlineScheduling = options.UnsafePreferInlineScheduling,
            WaitForDataBeforeAllocatingBuffer = options.WaitForDataBeforeAllocatingBuffer,
        };
        _others = new SocketConnectionContextFactory(others, logs.CreateLogger("Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets"));
        _looks = time.CreateTimer(_ => EndSilent(), null, Look, Look);
        _accepting = Task.Run(AcceptAllAsync);
    }

    public EndPoint EndPoint { get; }

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await _decided.Reader.WaitToReadAsync(cancellationToken))
        {
            if (_decided.Reader.TryRead(out ConnectionContext? connection))
            {
                return connection;
            }
        }

        return null;
    }

    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        await _stopping.CancelAsync();
        _socket.Dispose();
        await _accepting;
        _decided.Writer.TryComplete();
        EndUndecided(long.MaxValue);
    }

    public async ValueTask DisposeAsync()
    {
        await UnbindAsync();
        await _looks.DisposeAsync();
        _others.Dispose();
    }

    private async Task AcceptAllAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                Begin(await _socket.AcceptAsync(_stopping.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
            {
                // They stay with the kernel until others have ended.
                await Task.Delay(TooManyWait, _time, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (SocketException)
            {
                // It ended before it was taken.
            }
        }
    }

    private void Begin(Socket socket)
    {
        try
        {
            if (_noDelay && socket.LocalEndPoint is IPEndPoint)
            {
                socket.NoDelay = true;
            }

            LoopConnection connection = new(socket, _loops[_accepted++ % _loops.Length], Decided);
            _undecided[connection] = _time.GetTimestamp();
            connection.Begin();
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    private void Decided(LoopConnection connection, bool? isHttp2)
    {
        _undecided.TryRemove(connection, out _);
        if (isHttp2 is null)
        {
            return;
        }

        ConnectionContext given = connection;
        if (!isHttp2.Value)
        {
            try
            {
                given = _others.Create(connection.Socket);
            }
            catch (SocketException)
            {
                // It has ended meanwhile.
                connection.Socket.Dispose();
                return;
            }
        }

        if (!_decided.Writer.TryWrite(given))
        {
            given.DisposeAsync().AsTask();
        }
    }

    private void EndSilent() => EndUndecided(_time.GetTimestamp() - (long)(FirstBytes.Timeout.TotalSeconds * _time.TimestampFrequency));

    private void EndUndecided(long since)
    {
        foreach ((LoopConnection connection, long came) in _undecided)
        {
            if (came <= since)
            {
                connection.EndUnlessDecided();
            }
        }
    }
}

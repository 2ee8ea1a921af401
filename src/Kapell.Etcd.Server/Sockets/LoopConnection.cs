using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kapell.Base;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Etcd.Server.Sockets;

/// <summary>
/// A connection of HTTP/2 without TLS, read by a <see cref="SocketLoop"/> and written by whoever has something to send. Kestrel knows it as one of
/// its connections, but sees no byte of it.
/// </summary>
internal sealed class LoopConnection : ConnectionContext, IHttp2Transport
{
    // Of one connection before the others have their turn.
    private const int ReadsMax = 4;

    private readonly SocketLoop _loop;
    private readonly Action<LoopConnection, bool?> _decided;
    private readonly CancellationTokenSource _closed = new();
    private readonly TaskCompletionSource _over = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _gone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IByteTaker? _taker;
    private byte[] _rest = []; // Of the array pool, unless it is empty: the beginning of a frame whose end has not come.
    private int _restBytes;
    private int _key;
    private bool _isWatched;
    private bool _isDecided;
    private bool _isOver;
    private bool _hasHungUp; // There is an end behind what can be read, and no event will tell of it again.
    private volatile ConnectionAbortedException? _aborted;
    private bool _roomSeen;
    private TaskCompletionSource? _room;
    private int _isDisposed;
    private string? _id;

    /// <param name="decided">
    /// Told once, on the loop's thread, whether it speaks HTTP/2 without TLS; null when it ended or was ended before it said so. Only if it does is
    /// this object of any more use.
    /// </param>
    /// <exception cref="SocketException">It has ended already.</exception>
    public LoopConnection(Socket socket, SocketLoop loop, Action<LoopConnection, bool?> decided)
    {
        (Socket, _loop, _decided) = (socket, loop, decided);
        LocalEndPoint = socket.LocalEndPoint;
        RemoteEndPoint = socket.RemoteEndPoint;
        ConnectionClosed = _closed.Token;
    }

    public Socket Socket { get; }

    public override string ConnectionId
    {
        get => _id ??= Guid.NewGuid().ToString("N");
        set => _id = value;
    }

    public override IFeatureCollection Features { get; } = new FeatureCollection();

    public override IDictionary<object, object?> Items { get; set; } = new ConnectionItems();

    public override IDuplexPipe Transport
    {
        get => throw new InvalidOperationException("what comes on this connection goes to the one who called ReadAsync");
        set => throw new InvalidOperationException("what comes on this connection goes to the one who called ReadAsync");
    }

    /// <summary>Begins to watch the socket.</summary>
    public void Begin() => _loop.Ask(() =>
    {
        try
        {
            _key = _loop.Add(this, Socket.SafeHandle);
            _isWatched = true;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Undecided();
            return;
        }

        // What came before it was watched is no event.
        Decide();
    });

    /// <summary>Ends it if it has not said what it speaks.</summary>
    public void EndUnlessDecided() => _loop.Ask(Undecided);

    public Task ReadAsync(IByteTaker taker)
    {
        _loop.Ask(() =>
        {
            _taker = taker;
            Read();
        });
        return _over.Task;
    }

    public void Wake() => _loop.Ask(() =>
    {
        if (_taker is not null && !_isOver)
        {
            Give(0, isWake: true);
        }
    });

    /// <summary>On the loop's thread: events of epoll.</summary>
    public void Happened(uint events)
    {
        if ((events & (Native.Out | Native.Error | Native.HangUp)) != 0)
        {
            RoomSeen();
        }

        _hasHungUp |= (events & (Native.Error | Native.HangUp | Native.ReadHangUp)) != 0;
        if ((events & Native.In) == 0 && !_hasHungUp)
        {
            return;
        }

        if (!_isDecided)
        {
            Decide();
        }
        else if (_taker is not null)
        {
            Read();
        }
        else if (_hasHungUp)
        {
            // Whoever is to read does not yet, and need not.
            TellClosed();
        }
    }

    public ValueTask<bool> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        Volatile.Write(ref _roomSeen, false);
        int sent = Send(bytes.Span);
        return sent == bytes.Length ? ValueTask.FromResult(true) : SendRestAsync(bytes[sent..]);
    }

    public override void Abort(ConnectionAbortedException abortReason)
    {
        _aborted ??= abortReason;

        // The kernel says so to the loop, and to whoever waits for room.
        try
        {
            Native.Shutdown(Socket.SafeHandle);
        }
        catch (ObjectDisposedException)
        {
            // It is closed.
        }

        _loop.Ask(() => End(abortReason));
    }

    public override void Abort() => Abort(new ConnectionAbortedException("the connection was ended by the server"));

    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            _loop.Ask(() =>
            {
                End(null);
                Unwatch();
                Native.Shutdown(Socket.SafeHandle);
                Socket.Dispose();
                RoomSeen();
                GiveBackRest();
                _gone.SetResult();
            });
        }

        await _gone.Task;
        await base.DisposeAsync();
    }

    /// <summary>On the loop's thread: nothing is reported of the socket any more; it stays open.</summary>
    private void Unwatch()
    {
        if (_isWatched)
        {
            _isWatched = false;
            _loop.Remove(_key, Socket.SafeHandle);
        }
    }

    private void Decide()
    {
        Span<byte> first = stackalloc byte[FirstBytes.Count];
        int count = Native.Receive(Socket.SafeHandle, first, peeks: true);
        if (count < 0 && Marshal.GetLastPInvokeError() is Native.Again or Native.Interrupted)
        {
            return;
        }

        if (count <= 0)
        {
            Undecided();
            return;
        }

        if (FirstBytes.AreHttp2(first[..count]) is not { } isHttp2)
        {
            return;
        }

        _isDecided = true;
        if (!isHttp2)
        {
            Unwatch();
        }

        _decided(this, isHttp2);
    }

    private void Undecided()
    {
        if (!_isDecided)
        {
            _isDecided = true;
            Unwatch();
            Socket.Dispose();
            _decided(this, null);
        }
    }

    private void Read()
    {
        for (int reads = 0; reads < ReadsMax && !_isOver; reads++)
        {
            Span<byte> into = _loop.Buffer.Span;
            _rest.AsSpan(0, _restBytes).CopyTo(into);
            into = into[_restBytes..];
            int count = Native.Receive(Socket.SafeHandle, into);
            if (count <= 0)
            {
                int error = count < 0 ? Marshal.GetLastPInvokeError() : 0;
                if (error == Native.Interrupted)
                {
                    continue;
                }

                if (error != Native.Again)
                {
                    End(error == 0 ? null : new IOException(Marshal.GetPInvokeErrorMessage(error)));
                }

                return;
            }

            Give(count, isWake: false);
            if (count < into.Length && !_hasHungUp)
            {
                // All that was there; what comes now is an event. epoll(7)
                return;
            }
        }

        if (!_isOver)
        {
            _loop.Ask(Read);
        }
    }

    /// <param name="count">Of bytes in the loop's buffer, behind the rest.</param>
    private void Give(int count, bool isWake)
    {
        if (isWake)
        {
            _rest.AsSpan(0, _restBytes).CopyTo(_loop.Buffer.Span);
        }

        ReadOnlySequence<byte> bytes = new(_loop.Buffer[..(_restBytes + count)]);
        try
        {
            if (!_taker!.Take(ref bytes, isWake))
            {
                End(null);
            }
        }
#pragma warning disable CA1031 // Whoever waits for the end of this connection gets it; the others on this thread have nothing to do with it.
        catch (Exception e)
#pragma warning restore CA1031
        {
            End(e);
        }

        // When it is over nobody takes what is left, which may be all that there is room for.
        Keep(_isOver ? default : bytes);
    }

    private void Keep(ReadOnlySequence<byte> rest)
    {
        Check.That(rest.Length < _loop.Buffer.Length, "the taker leaves no more than a frame");
        int length = (int)rest.Length;
        if (_rest.Length < length || length == 0)
        {
            GiveBackRest();
            _rest = length > 0 ? ArrayPool<byte>.Shared.Rent(length) : [];
        }

        rest.CopyTo(_rest);
        _restBytes = length;
    }

    private void GiveBackRest()
    {
        if (_rest.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_rest);
        }

        (_rest, _restBytes) = ([], 0);
    }

    private void End(Exception? trouble)
    {
        if (_isOver)
        {
            return;
        }

        _isOver = true;
        trouble ??= _aborted;
        if (trouble is null)
        {
            _over.TrySetResult();
        }
        else
        {
            _over.TrySetException(trouble);
            _ = _over.Task.Exception; // Nobody may be there who reads.
        }

        TellClosed();
    }

    // Not here: whoever is told may do anything.
    private void TellClosed() => ThreadPool.UnsafeQueueUserWorkItem(static closed => closed.Cancel(), _closed, preferLocal: false);

    private int Send(ReadOnlySpan<byte> bytes)
    {
        int sent = 0;
        while (sent < bytes.Length)
        {
            int count = Native.Send(Socket.SafeHandle, bytes[sent..]);
            if (count >= 0)
            {
                sent += count;
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error == Native.Again)
            {
                break;
            }

            if (error != Native.Interrupted)
            {
                throw new IOException(Marshal.GetPInvokeErrorMessage(error));
            }
        }

        return sent;
    }

    private async ValueTask<bool> SendRestAsync(ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            await RoomAsync();
            Volatile.Write(ref _roomSeen, false);
            bytes = bytes[Send(bytes.Span)..];
        }

        return true;
    }

    // There may have been room between the kernel's refusal and this: whoever writes first of the two, the other sees it.
    private Task RoomAsync()
    {
        TaskCompletionSource room = new(TaskCreationOptions.RunContinuationsAsynchronously);
        Interlocked.Exchange(ref _room, room);
        if (Volatile.Read(ref _roomSeen))
        {
            Interlocked.Exchange(ref _room, null)?.TrySetResult();
        }

        return room.Task;
    }

    private void RoomSeen()
    {
        Volatile.Write(ref _roomSeen, true);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _room) is not null)
        {
            Interlocked.Exchange(ref _room, null)?.TrySetResult();
        }
    }
}

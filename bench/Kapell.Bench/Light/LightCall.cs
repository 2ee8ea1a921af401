using System.Buffers;
using System.Buffers.Binary;
using Grpc.Core;

namespace Kapell.Bench.Light;

/// <summary>One call of a connection. What comes is told by the connection's reader, and whoever waits for it goes on there.</summary>
internal abstract class LightCall(string path)
{
    private const int PrefixBytes = 5;
    private readonly ArrayBufferWriter<byte> _partial = new(); // The begin of a message that has not come whole.
    private int _wanted;

    /// <summary><c>/etcdserverpb.KV/Put</c>.</summary>
    public string Path => path;

    /// <summary>Given by the connection, under its lock, when the first message goes out.</summary>
    public int Stream { get; set; }

    /// <summary>A piece of the answer: mostly one message. A message in many pieces is copied once, however many they are.</summary>
    public void Data(ReadOnlySpan<byte> piece)
    {
        while (_partial.WrittenCount > 0 && piece.Length > 0)
        {
            ReadOnlySpan<byte> more = piece[..Math.Min(piece.Length, _wanted - _partial.WrittenCount)];
            _partial.Write(more);
            piece = piece[more.Length..];
            if (_partial.WrittenCount < _wanted)
            {
                return;
            }

            _wanted = PrefixBytes + LengthOf(_partial.WrittenSpan);
            if (_partial.WrittenCount == _wanted)
            {
                Message(_partial.WrittenSpan[PrefixBytes..]);
                _partial.ResetWrittenCount();
            }
        }

        while (piece.Length >= PrefixBytes && LengthOf(piece) is var length && piece.Length - PrefixBytes >= length)
        {
            Message(piece.Slice(PrefixBytes, length));
            piece = piece[(PrefixBytes + length)..];
        }

        if (piece.Length > 0)
        {
            _wanted = piece.Length < PrefixBytes ? PrefixBytes : PrefixBytes + LengthOf(piece);
            _partial.Write(piece);
        }
    }

    /// <summary>The call's last word.</summary>
    public abstract void End(Status status);

    protected abstract void Message(ReadOnlySpan<byte> payload);

    private static int LengthOf(ReadOnlySpan<byte> message) => BinaryPrimitives.ReadInt32BigEndian(message[1..]);
}

/// <summary>One answer.</summary>
internal sealed class LightUnaryCall<TResponse>(string path, Marshaller<TResponse> marshaller) : LightCall(path)
    where TResponse : class
{
    // Goes on in the reader's thread.
    private readonly TaskCompletionSource<TResponse> _done = new();
    private TResponse? _answer;
    private Status _status;

    public Task<TResponse> Answer => _done.Task;

    public Status Status => _status;

    public override void End(Status status)
    {
        _status = status;
        if (status.StatusCode == StatusCode.OK && _answer is { } answer)
        {
            _done.TrySetResult(answer);
        }
        else
        {
            _done.TrySetException(new RpcException(status.StatusCode == StatusCode.OK ? new Status(StatusCode.Internal, "no answer") : status));
        }
    }

    protected override void Message(ReadOnlySpan<byte> payload) => _answer = LightMessage.Read(marshaller, payload);
}

/// <summary>Messages both ways. One reader at a time.</summary>
internal sealed class LightStreamCall<TRequest, TResponse>(LightConnection connection, Method<TRequest, TResponse> method)
    : LightCall(method.FullName), IClientStreamWriter<TRequest>, IAsyncStreamReader<TResponse>
    where TRequest : class
    where TResponse : class
{
    private readonly Queue<TResponse> _come = new(); // Locked for the fields below too.
    private TaskCompletionSource<bool>? _waiting;
    private Status? _ended;

    public TResponse Current { get; private set; } = null!;

    public WriteOptions? WriteOptions { get; set; }

    public Status Status => _ended ?? throw new InvalidOperationException("the call goes on");

    public Task WriteAsync(TRequest message) => WriteAsync(message, CancellationToken.None);

    public Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        connection.Send(this, LightMessage.Write(method.RequestMarshaller, message), ends: false, cancellationToken);
        return Task.CompletedTask;
    }

    public Task CompleteAsync()
    {
        connection.Send(this, default, ends: true, CancellationToken.None);
        return Task.CompletedTask;
    }

    public Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        lock (_come)
        {
            if (_come.TryDequeue(out TResponse? next))
            {
                Current = next;
                return Task.FromResult(true);
            }

            if (_ended is { } ended)
            {
                return ended.StatusCode == StatusCode.OK ? Task.FromResult(false) : Task.FromException<bool>(new RpcException(ended));
            }

            _waiting = new TaskCompletionSource<bool>();
            return _waiting.Task;
        }
    }

    public override void End(Status status)
    {
        TaskCompletionSource<bool>? waiting;
        lock (_come)
        {
            _ended ??= status;
            (waiting, _waiting) = (_waiting, null);
        }

        if (status.StatusCode == StatusCode.OK)
        {
            waiting?.TrySetResult(false);
        }
        else
        {
            waiting?.TrySetException(new RpcException(status));
        }
    }

    protected override void Message(ReadOnlySpan<byte> payload)
    {
        TResponse message = LightMessage.Read(method.ResponseMarshaller, payload);
        TaskCompletionSource<bool>? waiting;
        lock (_come)
        {
            (waiting, _waiting) = (_waiting, null);
            if (waiting is null)
            {
                _come.Enqueue(message);
                return;
            }

            Current = message;
        }

        waiting.TrySetResult(true);
    }
}

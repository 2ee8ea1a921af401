using System.Collections.Concurrent;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Counts calls by method and outcome, and the bytes of messages, as upstream's interceptor does.</summary>
public sealed class CallCounter : Interceptor
{
    private readonly ConcurrentDictionary<(string Method, string Kind), Count> _started = new();
    private readonly ConcurrentDictionary<(string Method, string Kind, StatusCode Code), Count> _handled = new();
    private readonly Count _received = new();
    private readonly Count _sent = new();

    public long BytesReceived => _received.Value;

    public long BytesSent => _sent.Value;

    /// <summary>Full method name and kind (unary, bidi_stream, server_stream) with the number of calls.</summary>
    public IEnumerable<(string Method, string Kind, long Calls)> Started =>
        _started.OrderBy(s => s.Key.Method, StringComparer.Ordinal).Select(s => (s.Key.Method, s.Key.Kind, s.Value.Value));

    public IEnumerable<(string Method, string Kind, StatusCode Code, long Calls)> Handled =>
        _handled.OrderBy(h => h.Key.Method, StringComparer.Ordinal).ThenBy(h => h.Key.Code)
            .Select(h => (h.Key.Method, h.Key.Kind, h.Key.Code, h.Value.Value));

    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        _received.Add(SizeOf(request));
        return CountAsync("unary", context, async () =>
        {
            TResponse response = await continuation(request, context);
            _sent.Add(SizeOf(response));
            return response;
        });
    }

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        _received.Add(SizeOf(request));
        return CountAsync("server_stream", context, async () =>
        {
            await continuation(request, new CountingWriter<TResponse>(responseStream, _sent), context);
            return true;
        });
    }

    public override Task DuplexStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        DuplexStreamingServerMethod<TRequest, TResponse> continuation) => CountAsync("bidi_stream", context, async () =>
    {
        await continuation(new CountingReader<TRequest>(requestStream, _received), new CountingWriter<TResponse>(responseStream, _sent), context);
        return true;
    });

    private static int SizeOf(object? message) => message switch
    {
        Reply reply => reply.Length,
        IMessage other => other.CalculateSize(),
        _ => 0,
    };

    private async Task<T> CountAsync<T>(string kind, ServerCallContext context, Func<Task<T>> call)
    {
        _started.GetOrAdd((context.Method, kind), static _ => new Count()).Add(1);
        StatusCode code = StatusCode.Unknown;
        try
        {
            T result = await call();
            code = StatusCode.OK;
            return result;
        }
        catch (RpcException e)
        {
            code = e.StatusCode;
            throw;
        }
        catch (OperationCanceledException)
        {
            code = StatusCode.Cancelled;
            throw;
        }
        finally
        {
            _handled.GetOrAdd((context.Method, kind, code), static _ => new Count()).Add(1);
        }
    }

    private sealed class Count
    {
        private long _value;

        public long Value => Interlocked.Read(ref _value);

        public void Add(long more) => Interlocked.Add(ref _value, more);
    }

    private sealed class CountingWriter<T>(IServerStreamWriter<T> inner, Count sent) : IServerStreamWriter<T>
    {
        public WriteOptions? WriteOptions
        {
            get => inner.WriteOptions;
            set => inner.WriteOptions = value;
        }

        public Task WriteAsync(T message) => WriteAsync(message, CancellationToken.None);

        public Task WriteAsync(T message, CancellationToken cancellationToken)
        {
            sent.Add(SizeOf(message));
            return inner.WriteAsync(message, cancellationToken);
        }
    }

    private sealed class CountingReader<T>(IAsyncStreamReader<T> inner, Count received) : IAsyncStreamReader<T>
    {
        public T Current => inner.Current;

        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            bool more = await inner.MoveNext(cancellationToken);
            received.Add(more ? SizeOf(inner.Current) : 0);
            return more;
        }
    }
}

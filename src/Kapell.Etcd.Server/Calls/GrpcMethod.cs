using System.Buffers;
using System.Runtime.CompilerServices;
using Grpc.Core;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Calls;

/// <summary>One method of a service: makes the calls of it.</summary>
internal abstract class GrpcMethod(string fullName, MethodCount count)
{
    public MethodCount Count => count;

    /// <summary><c>/etcdserverpb.KV/Put</c>.</summary>
    public string FullName => fullName;

    public virtual bool IsStream => false;

    /// <summary>A call goes on until somebody ends it: a watch, keep-alives.</summary>
    public virtual bool IsEndless => false;

    /// <summary>Of the streams from the server alone, a snapshot and a range end by themselves.</summary>
    public static bool NeverEnds(string name, bool clientStreams) => clientStreams || name is "Observe" or "Watch";

    public abstract GrpcCall Begin(GrpcServer server, IHttp2Responder responder, Http2Stream stream);
}

/// <summary>One request, one response.</summary>
internal sealed class UnaryMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse> handler, CallCounter calls)
    : GrpcMethod(method.FullName, calls.Of(method.FullName, "unary"))
    where TRequest : class
    where TResponse : class
{
    public override GrpcCall Begin(GrpcServer server, IHttp2Responder responder, Http2Stream stream) => new Call(this, server, responder, stream);

    private sealed class Call(UnaryMethod<TRequest, TResponse> owner, GrpcServer server, IHttp2Responder responder, Http2Stream stream)
        : GrpcCall(owner, server, responder, stream)
    {
        private bool _begun;
        private TaskAwaiter<TResponse> _running;

        protected override void Message(ReadOnlySequence<byte> payload)
        {
            if (_begun)
            {
                Fail(new Status(StatusCode.Internal, "a unary call carries one message"));
                return;
            }

            _begun = true;
            Run(GrpcPayload.Read(owner.Marshaller, payload));
        }

        protected override void Ended()
        {
            if (!_begun)
            {
                Fail(new Status(StatusCode.Internal, "the call carried no message"));
            }
        }

        // By hand, for this is every call: the handler's own state machine is enough.
        private void Run(TRequest request)
        {
            try
            {
                _running = owner.Handler(request, this).GetAwaiter();
                if (!_running.IsCompleted)
                {
                    _running.UnsafeOnCompleted(Answer);
                    return;
                }
            }
            catch (Exception e)
            {
                Fail(e);
                return;
            }

            Answer();
        }

        private void Answer()
        {
            try
            {
                Finish(GrpcPayload.Write(owner.ResponseMarshaller, _running.GetResult()));
            }
            catch (Exception e)
            {
                Fail(e);
            }
        }
    }

    private Marshaller<TRequest> Marshaller => method.RequestMarshaller;

    private Marshaller<TResponse> ResponseMarshaller => method.ResponseMarshaller;

    private UnaryServerMethod<TRequest, TResponse> Handler => handler;
}

/// <summary>Streams on either side or both; the handler sees them as Grpc.Core's readers and writers.</summary>
internal sealed class StreamingMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method,
    Func<IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>, ServerCallContext, Task<TResponse?>> handler,
    CallCounter calls)
    : GrpcMethod(method.FullName, calls.Of(method.FullName, KindOf(method.Type)))
    where TRequest : class
    where TResponse : class
{
    public override bool IsStream => true;

    public override bool IsEndless => NeverEnds(method.Name, method.Type is MethodType.DuplexStreaming or MethodType.ClientStreaming);

    public override GrpcCall Begin(GrpcServer server, IHttp2Responder responder, Http2Stream stream)
    {
        Call call = new(this, server, responder, stream);
        call.Start(here: method.Type is MethodType.DuplexStreaming or MethodType.ClientStreaming);
        return call;
    }

    private Method<TRequest, TResponse> Method => method;

    private static string KindOf(MethodType type) => type switch
    {
        MethodType.ClientStreaming => "client_stream",
        MethodType.ServerStreaming => "server_stream",
        _ => "bidi_stream",
    };

    private sealed class Call(StreamingMethod<TRequest, TResponse> owner, GrpcServer server, IHttp2Responder responder, Http2Stream stream)
        : GrpcCall(owner, server, responder, stream), IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>, IDeferred
    {
        // More than a client has reason to send ahead of the answers.
        private const int WaitingMax = 16384;

        // Of what waits, all but the first: without a bound, a client that reads nothing could make this process hold anything.
        private const long WaitingBytesMax = 4 << 20;

        private readonly Queue<(TRequest Request, long Bytes)> _waiting = new();
        private long _waitingBytes;
        private TaskCompletionSource? _reader;
        private TaskCompletionSource? _leaving; // Of the reader's batch alone: who waited when the client ended, or left.
        private bool _ended;

        public TRequest Current { get; private set; } = null!;

        /// <param name="here">On the thread that reads the connection: what the handler does before it waits for a message is short.</param>
        public void Start(bool here) => _ = here ? RunAsync() : Task.Run(() => RunAsync());

        /// <summary>
        /// Who waits goes on in the thread that read the message from the socket, within its batch: what a handler does between two messages
        /// is short, and a change of threads for each would cost more.
        /// </summary>
        /// <returns>False when no message will come. That the client is gone too, to who waits with the call's own token: it has nothing more
        /// to do, and an exception through each of its frames costs more than a call that renews one lease.</returns>
        /// <exception cref="OperationCanceledException">Another token was cancelled, or the call while it was waited for with another.</exception>
        public async Task<bool> MoveNext(CancellationToken cancellationToken)
        {
            while (true)
            {
                Task come;
                lock (_waiting)
                {
                    if (_waiting.TryDequeue(out (TRequest Request, long Bytes) next))
                    {
                        Current = next.Request;
                        _waitingBytes -= next.Bytes;
                        return true;
                    }

                    if (_ended)
                    {
                        return false;
                    }

                    _reader = new TaskCompletionSource();
                    come = _reader.Task;
                }

                // The end of the call wakes it too.
                if (cancellationToken == CancellationToken)
                {
                    await come;
                    if (IsOver)
                    {
                        return false;
                    }
                }
                else
                {
                    await come.WaitAsync(cancellationToken);
                    CancellationToken.ThrowIfCancellationRequested();
                }
            }
        }

        public Task WriteAsync(TResponse message) => WriteAsync(message, CancellationToken.None);

        public async Task WriteAsync(TResponse message, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            CancellationToken.ThrowIfCancellationRequested();
            if (!Send(GrpcPayload.Write(owner.Method.ResponseMarshaller, message)))
            {
                await RoomAsync().WaitAsync(CancellationToken);
            }
        }

        protected override void Message(ReadOnlySequence<byte> payload)
        {
            TRequest request = GrpcPayload.Read(owner.Method.RequestMarshaller, payload);
            TaskCompletionSource? reader;
            lock (_waiting)
            {
                if (_waiting.Count > 0 && (_waiting.Count >= WaitingMax || _waitingBytes + payload.Length > WaitingBytesMax))
                {
                    Fail(new Status(StatusCode.ResourceExhausted, "too many messages wait on this stream"));
                    return;
                }

                _waiting.Enqueue((request, payload.Length));
                _waitingBytes += payload.Length;
                (reader, _reader) = (_reader, null);
            }

            reader?.TrySetResult();
        }

        protected override void Ended()
        {
            TaskCompletionSource? reader;
            lock (_waiting)
            {
                _ended = true;
                (reader, _reader) = (_reader, null);
            }

            if (reader is null)
            {
                return;
            }

            // Whoever ends it may be in the middle of something: at the end of what came with it, or elsewhere.
            _leaving = reader;
            if (!WorkBatch.TakesTurn(this))
            {
                _leaving = null;
                ThreadPool.UnsafeQueueUserWorkItem(static r => r.TrySetResult(), reader, preferLocal: false);
            }
        }

        void IDeferred.Run() => _leaving!.TrySetResult();

        protected override void Aborted() => Ended();

        private async Task RunAsync()
        {
            try
            {
                TResponse? last = await owner.Run(this);
                if (IsOver)
                {
                    Leave();
                    return;
                }

                Finish(last is null ? null : GrpcPayload.Write(owner.Method.ResponseMarshaller, last));
            }
            catch (Exception e)
            {
                Fail(e);
            }
        }
    }

    private Task<TResponse?> Run(Call call) => handler(call, call, call);
}

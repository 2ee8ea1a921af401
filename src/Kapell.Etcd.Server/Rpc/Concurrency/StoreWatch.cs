using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Rpc.Concurrency;

/// <summary>One watch from within, with the rights of the call it is made for. Ends when it is disposed.</summary>
internal sealed class StoreWatch : IAsyncStreamReader<WatchRequest>, IServerStreamWriter<Reply>, IAsyncDisposable
{
    private const int WaitingMax = 16;

    private readonly Channel<WatchResponse> _responses = Channel.CreateBounded<WatchResponse>(WaitingMax);
    private readonly CancellationTokenSource _ending;
    private readonly Task _running;
    private bool _asked;

    public StoreWatch(WatchServiceBase service, WatchCreateRequest request, ServerCallContext context)
    {
        Current = new WatchRequest { CreateRequest = request };
        _ending = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        _running = RunAsync(service, new InnerCall(context, _ending.Token));
    }

    public WatchRequest Current { get; }

    public WriteOptions? WriteOptions { get; set; }

    /// <summary>The next events.</summary>
    /// <exception cref="RpcException">The watch was refused or canceled by the store.</exception>
    public async Task<WatchResponse> NextAsync(CancellationToken cancellation)
    {
        while (true)
        {
            WatchResponse response = await _responses.Reader.ReadAsync(cancellation);
            if (response.Canceled)
            {
                throw response.CompactRevision != 0
                    ? Replication.EtcdError.Compacted.ToException()
                    : new RpcException(new Status(StatusCode.FailedPrecondition, response.CancelReason));
            }

            if (response.Events.Count > 0)
            {
                return response;
            }
        }
    }

    async Task<bool> IAsyncStreamReader<WatchRequest>.MoveNext(CancellationToken cancellationToken)
    {
        if (!_asked)
        {
            return _asked = true;
        }

        TaskCompletionSource never = new();
        await never.Task.WaitAsync(cancellationToken);
        return false;
    }

    Task IAsyncStreamWriter<Reply>.WriteAsync(Reply message) => WriteAsync(message, CancellationToken.None);

    Task IAsyncStreamWriter<Reply>.WriteAsync(Reply message, CancellationToken cancellationToken) => WriteAsync(message, cancellationToken);

    public async ValueTask DisposeAsync()
    {
        await _ending.CancelAsync();
        await _running;
        _ending.Dispose();
    }

    private Task WriteAsync(Reply message, CancellationToken cancellation) =>
        _responses.Writer.WriteAsync(WatchResponse.Parser.ParseFrom(message.Span), cancellation).AsTask();

    private async Task RunAsync(WatchServiceBase service, InnerCall call)
    {
        try
        {
            await service.Watch(this, this, call);
            _responses.Writer.TryComplete();
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException)
        {
            // Whoever reads on learns why there is no more.
            _responses.Writer.TryComplete(e);
        }
    }
}

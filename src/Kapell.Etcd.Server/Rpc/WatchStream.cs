using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// One Watch call around a <see cref="WatchSession"/>: one task takes requests, another sends. etcd: api/v3rpc/watch.go
/// </summary>
internal sealed class WatchStream : IDisposable
{
    private const int AnswersMax = 4096;

    private readonly ReplicaHost _host;
    private readonly EtcdLimits _limits;
    private readonly WatchSession _session;
    private readonly Func<WatchCreateRequest, ValueTask<string?>> _judge;
    private readonly SemaphoreSlim _answerRoom = new(AnswersMax);
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    /// <param name="judge">Tells why a watch may not be, or null.</param>
    public WatchStream(ReplicaHost host, EtcdLimits limits, WatchCounts counts, Func<WatchCreateRequest, ValueTask<string?>> judge)
    {
        (_host, _limits, _judge) = (host, limits, judge);
        _session = new WatchSession(limits.RequestBytesMax + EtcdLimits.FrameBytes, counts, () => _wake.Writer.TryWrite(true));
    }

    public void Dispose() => _answerRoom.Dispose();

    public async Task RunAsync(
        IAsyncStreamReader<WatchRequest> requests, IServerStreamWriter<Reply> responses, CancellationToken cancellation)
    {
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await using ITimer progress = _host.Time.CreateTimer(_ => ProgressDue(), null, _limits.WatchProgressInterval, _limits.WatchProgressInterval);
        Task sending = SendAsync(responses, ending.Token);
        try
        {
            Task receiving = ReceiveAsync(requests, ending.Token);
            if (await Task.WhenAny(receiving, sending) == sending)
            {
                // Whoever says nothing must hear that there is no more.
                await ending.CancelAsync();
                await Task.WhenAny(receiving);
                _ = receiving.Exception;
            }
            else
            {
                await receiving;
            }

            // A client that has said all it wanted has its watches until it leaves.
            await sending;
        }
        catch (Exception e) when (cancellation.IsCancellationRequested && e is OperationCanceledException or IOException or RpcException)
        {
            throw EtcdError.WatchCanceled.ToException();
        }
        finally
        {
            await ending.CancelAsync();
            await sending.ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
            _host.PostOwned(RemoveAll);
        }
    }

    private async Task ReceiveAsync(IAsyncStreamReader<WatchRequest> requests, CancellationToken cancellation)
    {
        while (await requests.MoveNext(cancellation))
        {
            WatchRequest request = requests.Current;
            switch (request.RequestUnionCase)
            {
                case WatchRequest.RequestUnionOneofCase.CreateRequest:
                    await CreateAsync(request.CreateRequest, cancellation);
                    break;
                case WatchRequest.RequestUnionOneofCase.CancelRequest:
                    await CancelAsync(request.CancelRequest.WatchId, cancellation);
                    break;
                case WatchRequest.RequestUnionOneofCase.ProgressRequest:
                    _session.WantProgress();
                    _session.Signal();
                    break;
            }
        }
    }

    private async Task CreateAsync(WatchCreateRequest request, CancellationToken cancellation)
    {
        string? refusal = request.StartRevision < 0 ? null : await _judge(request);
        await _answerRoom.WaitAsync(cancellation);
        if (_session.Create(request, refusal) is { } watcher)
        {
            await _host.OwnAsync(
                replica =>
                {
                    _session.Register(watcher, replica.Applier.Store);
                    return true;
                },
                cancellation);
        }

        _session.Signal();
    }

    private async Task CancelAsync(long id, CancellationToken cancellation)
    {
        if (await RemoveAsync(id, cancellation))
        {
            await _answerRoom.WaitAsync(cancellation);
            _session.AnswerCanceled(id);
            _session.Signal();
        }
    }

    private async Task<bool> RemoveAsync(long id, CancellationToken cancellation)
    {
        if (_session.Remove(id) is not { } watcher)
        {
            return false;
        }

        return await _host.OwnAsync(
            replica =>
            {
                WatchSession.Unregister(watcher, replica.Applier.Store);
                return true;
            },
            cancellation);
    }

    /// <summary>On the owner's thread, when the call has ended.</summary>
    private void RemoveAll()
    {
        foreach (Watcher watcher in _session.RemoveAll())
        {
            WatchSession.Unregister(watcher, _host.Store);
        }
    }

    private void ProgressDue()
    {
        _session.ProgressDue();
        _session.Signal();
    }

    private async Task SendAsync(IServerStreamWriter<Reply> responses, CancellationToken cancellation)
    {
        List<Reply> replies = [];
        List<long> compacted = [];
        while (await _wake.Reader.WaitToReadAsync(cancellation))
        {
            _wake.Reader.TryRead(out _);
            bool more = true;
            while (more)
            {
                more = Collect(replies, compacted);
                foreach (Reply reply in replies)
                {
                    await responses.WriteAsync(reply, cancellation);
                }

                replies.Clear();
                foreach (long id in compacted)
                {
                    if (_session.Remove(id) is { } watcher)
                    {
                        _host.PostOwned(() => WatchSession.Unregister(watcher, _host.Store));
                    }
                }

                compacted.Clear();
            }
        }
    }

    private bool Collect(List<Reply> replies, List<long> compacted)
    {
        _host.EnterReading();
        try
        {
            bool more = _session.Collect(_host.Store, _host.Header, replies, compacted, out int answered);
            if (answered > 0)
            {
                _answerRoom.Release(answered);
            }

            return more;
        }
        finally
        {
            _host.ExitReading();
        }
    }
}

using System.Runtime.CompilerServices;
using Grpc.Core;
using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Client;

/// <summary>A watch on one stream of its own, resumed after failures (etcd: clientv3/watch.go).</summary>
internal sealed class EtcdWatch(
    EtcdConnections connections, ReadOnlyMemory<byte> prefix, long startRevision, bool progressNotify, TimeProvider time) : IEtcdWatch
{
    private static readonly TimeSpan BackoffMax = TimeSpan.FromSeconds(2);
    private readonly SemaphoreSlim _writing = new(1, 1);
    private AsyncDuplexStreamingCall<WatchRequest, WatchResponse>? _call;
    private long _next = startRevision;
    private bool _created;

    public async IAsyncEnumerable<EtcdWatchBatch> ReadAllAsync([EnumeratorCancellation] CancellationToken cancel)
    {
        TimeSpan backoff = TimeSpan.FromMilliseconds(50);
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            WatchResponse? response = await NextAsync(cancel);
            if (response is null)
            {
                await Task.Delay(backoff, time, cancel);
                backoff = backoff * 2 > BackoffMax ? BackoffMax : backoff * 2;
                continue;
            }

            backoff = TimeSpan.FromMilliseconds(50);
            if (response.CompactRevision > 0)
            {
                throw new EtcdException(EtcdErrorKind.Compacted, "etcdserver: mvcc: required revision has been compacted")
                {
                    CompactRevision = response.CompactRevision,
                };
            }

            if (response.Canceled)
            {
                throw new EtcdException(EtcdErrorKind.Other, "etcd canceled the watch: " + response.CancelReason);
            }

            if (response.Created)
            {
                // "From now" becomes a fixed place, so that a resume misses nothing.
                _next = _next == 0 ? response.Header.Revision + 1 : _next;
                _created = true;
                continue;
            }

            if (response.Events.Count > 0)
            {
                yield return Batch(response);
            }
            else if (_created)
            {
                // All before it was sent: a resume need not begin at the last event, which may be compacted by then. etcd: clientv3/watch.go
                _next = Math.Max(_next, response.Header.Revision + 1);
                yield return new EtcdWatchBatch([], response.Header.Revision);
            }
        }
    }

    public async Task RequestProgressAsync(CancellationToken cancel)
    {
        if (_call is not { } call || !_created)
        {
            return;
        }

        await _writing.WaitAsync(cancel);
        try
        {
            await call.RequestStream.WriteAsync(new WatchRequest { ProgressRequest = new WatchProgressRequest() }, cancel);
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException)
        {
            // The reader sees the same break and resumes; progress will be asked for again.
            return;
        }
        finally
        {
            _writing.Release();
        }
    }

    public ValueTask DisposeAsync()
    {
        Close();
        _writing.Dispose();
        return ValueTask.CompletedTask;
    }

    private EtcdWatchBatch Batch(WatchResponse response)
    {
        EtcdEvent[] events = new EtcdEvent[response.Events.Count];
        for (int i = 0; i < events.Length; i++)
        {
            Event e = response.Events[i];
            events[i] = new EtcdEvent(e.Type == Event.Types.EventType.Delete, EtcdClient.FromWire(e.Kv));
        }

        // One revision may be split over several responses only when fragments are asked for, which we do not.
        long last = events[^1].Entry.ModRevision;
        _next = last + 1;
        return new EtcdWatchBatch(events, last);
    }

    /// <summary>The next response, or null when the connection failed and has been closed.</summary>
    private async Task<WatchResponse?> NextAsync(CancellationToken cancel)
    {
        EtcdConnections.Connection connection = connections.Current;
        try
        {
            if (_call is null)
            {
                _created = false;
                _call = connection.Watch.Watch(new CallOptions(cancellationToken: cancel));
                await _call.RequestStream.WriteAsync(new WatchRequest
                {
                    CreateRequest = new WatchCreateRequest
                    {
                        Key = EtcdClient.ToWire(prefix), RangeEnd = EtcdClient.ToWire(EtcdRange.EndOfPrefix(prefix.Span)),
                        StartRevision = _next, ProgressNotify = progressNotify,
                    },
                }, cancel);
            }

            if (await _call.ResponseStream.MoveNext(cancel))
            {
                return _call.ResponseStream.Current;
            }
        }
        catch (RpcException e)
        {
            cancel.ThrowIfCancellationRequested();
            EtcdException failure = EtcdErrors.From(e);
            if (failure.Kind is not (EtcdErrorKind.Unavailable or EtcdErrorKind.Timeout or EtcdErrorKind.TooManyRequests) && e.StatusCode is not StatusCode.Cancelled)
            {
                Close();
                throw failure;
            }
        }

        Close();
        connections.LeaveFailed(connection);
        return null;
    }

    private void Close()
    {
        _call?.Dispose();
        _call = null;
    }
}

using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// One Watch call. One task takes requests, another sends: answers to requests first, so that "created" precedes the events, then what
/// the watchers have. etcd: api/v3rpc/watch.go
/// </summary>
/// <param name="judge">Tells why a watch may not be, or null.</param>
internal sealed class WatchStream(
    ReplicaHost host, EtcdLimits limits, WatchCounts counts, Func<WatchCreateRequest, ValueTask<string?>> judge) : IDisposable
{
    private const long NoWatch = -1; // etcd: clientv3.InvalidWatchID
    private const int AnswersMax = 4096;

    private readonly Lock _lock = new(); // Guards the fields below, and what the watchers share with the applying thread.
    private readonly SortedDictionary<long, Watcher> _watchers = [];
    private readonly Queue<Answer> _answers = new();
    private readonly SemaphoreSlim _answerRoom = new(AnswersMax);
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private long _nextId;
    private bool _progressWanted;
    private bool _progressDue;

    public void Dispose() => _answerRoom.Dispose();

    /// <summary>There is something to send. From any thread.</summary>
    public void Signal() => _wake.Writer.TryWrite(true);

    public async Task RunAsync(
        IAsyncStreamReader<WatchRequest> requests, IServerStreamWriter<Reply> responses, CancellationToken cancellation)
    {
        using CancellationTokenSource ending = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await using ITimer progress = host.Time.CreateTimer(_ => ProgressDue(), null, limits.WatchProgressInterval, limits.WatchProgressInterval);
        Task sending = SendAsync(responses, ending.Token);
        try
        {
            await ReceiveAsync(requests, ending.Token);

            // The client has said all it wanted; its watches go on until it leaves.
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
            host.PostOwned(RemoveAll);
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
                    lock (_lock)
                    {
                        _progressWanted = true;
                    }

                    Signal();
                    break;
            }
        }
    }

    private async Task CreateAsync(WatchCreateRequest request, CancellationToken cancellation)
    {
        string? refusal = request.StartRevision < 0 ? EtcdError.Compacted.Text : await judge(request);
        Watcher? watcher = null;
        lock (_lock)
        {
            long id = request.WatchId;
            if (refusal is not null)
            {
                // Refused before it is looked at.
            }
            else if (!request.RangeEnd.IsEmpty && !Mvcc.KeyRange.IsUnbounded(request.RangeEnd.Span)
                && request.Key.Span.SequenceCompareTo(request.RangeEnd.Span) >= 0)
            {
                refusal = "mvcc: watcher range is empty";
            }
            else if (id != 0 && _watchers.ContainsKey(id))
            {
                refusal = "mvcc: duplicate watch ID provided on the WatchStream";
            }
            else
            {
                while (id == 0 && _watchers.ContainsKey(_nextId))
                {
                    _nextId++;
                }

                id = id == 0 ? _nextId++ : id;
                watcher = new Watcher(this, _lock, id, request, counts);
                _watchers.Add(id, watcher);
            }
        }

        if (watcher is null)
        {
            await AnswerAsync(new Answer(NoWatch, Created: true, Canceled: true, Reason: refusal), cancellation);
            return;
        }

        await _answerRoom.WaitAsync(cancellation);
        await host.OwnAsync(
            replica =>
            {
                Mvcc.MvccStore store = replica.Applier.Store;
                bool past = watcher.StartRevision > 0 && watcher.StartRevision <= store.Revision;
                lock (_lock)
                {
                    bool compacted = past && watcher.StartRevision < store.CompactRevision;
                    watcher.StartAt(compacted ? -1 : past ? store.PositionOf(watcher.StartRevision) : store.LogEnd, past);

                    // Not before it is registered: the client counts on every event after the revision in this answer.
                    _answers.Enqueue(new Answer(watcher.Id, Created: true));
                }

                store.Watchers.Add(watcher.Key, watcher.End, watcher);
                return true;
            },
            cancellation);
        Signal();
    }

    private async Task CancelAsync(long id, CancellationToken cancellation)
    {
        if (await RemoveAsync(id, cancellation))
        {
            await AnswerAsync(new Answer(id, Canceled: true), cancellation);
        }
    }

    private async Task<bool> RemoveAsync(long id, CancellationToken cancellation)
    {
        Watcher? watcher;
        lock (_lock)
        {
            if (!_watchers.Remove(id, out watcher))
            {
                return false;
            }
        }

        return await host.OwnAsync(
            replica =>
            {
                Leave(replica.Applier.Store, watcher);
                return true;
            },
            cancellation);
    }

    /// <summary>On the owner's thread, when the call has ended.</summary>
    private void RemoveAll()
    {
        Watcher[] watchers;
        lock (_lock)
        {
            watchers = [.. _watchers.Values];
            _watchers.Clear();
        }

        foreach (Watcher watcher in watchers)
        {
            Leave(host.Store, watcher);
        }
    }

    private static void Leave(Mvcc.MvccStore store, Watcher watcher)
    {
        if (watcher.Registered)
        {
            watcher.Registered = false;
            watcher.Leave();
            store.Watchers.Remove(watcher.Key, watcher.End, watcher);
        }
    }

    private async Task AnswerAsync(Answer answer, CancellationToken cancellation)
    {
        await _answerRoom.WaitAsync(cancellation);
        lock (_lock)
        {
            _answers.Enqueue(answer);
        }

        Signal();
    }

    private void ProgressDue()
    {
        lock (_lock)
        {
            _progressDue = true;
        }

        Signal();
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
                host.EnterReading();
                try
                {
                    more = Collect(replies, compacted);
                }
                finally
                {
                    host.ExitReading();
                }

                foreach (Reply reply in replies)
                {
                    await responses.WriteAsync(reply, cancellation);
                }

                replies.Clear();
                foreach (long id in compacted)
                {
                    await RemoveAsync(id, cancellation);
                }

                compacted.Clear();
            }
        }
    }

    /// <summary>Whether there is more to collect.</summary>
    private bool Collect(List<Reply> replies, List<long> compacted)
    {
        bool more = false;
        ReplyHeader header = host.Header;
        lock (_lock)
        {
            while (_answers.TryDequeue(out Answer? answer))
            {
                replies.Add(answer.Encode(header, host.Store.Revision));
                _answerRoom.Release();
            }

            foreach (Watcher watcher in _watchers.Values)
            {
                if (!watcher.HasWork)
                {
                    continue;
                }

                int before = replies.Count;
                if (WatchBatch.Take(host.Store, header, watcher, limits.RequestBytesMax + EtcdLimits.FrameBytes, replies))
                {
                    watcher.SentSomething |= replies.Count > before;
                    more |= watcher.HasWork;
                }
                else
                {
                    replies.Add(CompactedReply(header, watcher.Id));
                    compacted.Add(watcher.Id);
                }
            }

            AddProgress(header, replies, allSent: !more);
        }

        return more;
    }

    private void AddProgress(ReplyHeader header, List<Reply> replies, bool allSent)
    {
        // Only when every watch is up to date may a revision be promised for all of them. etcd: watchable_store.go progressAll
        if (_progressWanted && allSent && _watchers.Count > 0 && _watchers.Values.All(static w => w.Registered))
        {
            _progressWanted = false;
            replies.Add(WatchBatch.Begin(header, host.Store.Revision, NoWatch).Finish());
        }

        if (!_progressDue)
        {
            return;
        }

        _progressDue = false;
        foreach (Watcher watcher in _watchers.Values.Where(static w => w.NotifiesProgress && w.Registered))
        {
            if (!watcher.SentSomething && !watcher.HasWork)
            {
                replies.Add(WatchBatch.Begin(header, host.Store.Revision, watcher.Id).Finish());
            }

            watcher.SentSomething = false;
        }
    }

    private Reply CompactedReply(ReplyHeader header, long id)
    {
        ReplyWriter writer = WatchBatch.Begin(header, host.Store.Revision, id);
        writer.Flag(4, true);
        writer.Number(5, host.Store.CompactRevision);
        return writer.Finish();
    }

    private sealed record Answer(long Id, bool Created = false, bool Canceled = false, string? Reason = null)
    {
        public Reply Encode(ReplyHeader header, long revision)
        {
            ReplyWriter writer = WatchBatch.Begin(header, revision, Id);
            writer.Flag(3, Created);
            writer.Flag(4, Canceled);
            writer.Text(6, Reason ?? "");
            return writer.Finish();
        }
    }
}

using System.Globalization;
using System.Threading.Channels;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Watches on one stream that begin and end while keys change, and what each of them was told, in order.</summary>
internal sealed class LiveWatches : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private readonly CancellationTokenSource _ended;
    private readonly AsyncDuplexStreamingCall<WatchRequest, WatchResponse> _call;
    private readonly Channel<WatchResponse> _answers = Channel.CreateUnbounded<WatchResponse>();
    private readonly Lock _lock = new();
    private readonly SortedDictionary<long, List<string>> _told = [];
    private readonly Task _reading;
    private int _responses;

    public LiveWatches(StoreClient store)
    {
        _ended = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        _call = store.Watch.Watch(cancellationToken: _ended.Token);
        _reading = ReadAsync();
    }

    /// <summary>Asks for a watch, or for the end of one, and waits until the store says that it has begun or ended.</summary>
    public async Task<WatchResponse> AskAsync(WatchRequest request)
    {
        await _call.RequestStream.WriteAsync(request, _ended.Token);
        return await _answers.Reader.ReadAsync(_ended.Token).AsTask().WaitAsync(Patience, _ended.Token);
    }

    /// <summary>A line for each answer and event of each watch, when nothing more has come for this long.</summary>
    public async Task<string> ToldAsync(TimeSpan silence)
    {
        int before;
        do
        {
            before = Volatile.Read(ref _responses);
            await Task.Delay(silence, _ended.Token);
        }
        while (before != Volatile.Read(ref _responses));

        Assert.False(_reading.IsCompleted, "the stream ended");
        lock (_lock)
        {
            return string.Join('\n', _told.SelectMany(static w => w.Value));
        }
    }

    public void Dispose()
    {
        _ended.Cancel();
        _call.Dispose();
        _ended.Dispose();
    }

    private async Task ReadAsync()
    {
        while (await _call.ResponseStream.MoveNext(_ended.Token))
        {
            WatchResponse response = _call.ResponseStream.Current;
            lock (_lock)
            {
                if (!_told.TryGetValue(response.WatchId, out List<string>? told))
                {
                    _told[response.WatchId] = told = [];
                }

                // Whether events come in one answer or in two is not promised, nor how new the store is by then.
                if (response.Created || response.Canceled)
                {
                    told.Add(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{response.WatchId}: {response.Created} {response.Canceled} {response.CompactRevision} {response.CancelReason}"));
                }

                told.AddRange(response.Events.Select(e => string.Create(CultureInfo.InvariantCulture, $"{response.WatchId}: {e}")));
            }

            Interlocked.Increment(ref _responses);

            // What was compacted before a watch could read it ends that watch later, and answers nothing that was asked.
            if (response.Created || (response.Canceled && response.CompactRevision == 0))
            {
                _answers.Writer.TryWrite(response);
            }
        }
    }
}

using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>One Watch stream; what must come is waited for, for no longer than a test may take.</summary>
internal sealed class WatchCall : IDisposable
{
    private readonly AsyncDuplexStreamingCall<WatchRequest, WatchResponse> _call;
    private readonly CancellationTokenSource _late;

    public WatchCall(StoreClient store)
    {
        _late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        _late.CancelAfter(TimeSpan.FromSeconds(30));
        _call = store.Watch.Watch(cancellationToken: _late.Token);
    }

    public Task SendAsync(WatchRequest request) => _call.RequestStream.WriteAsync(request, _late.Token);

    /// <summary>Asks for a watch and takes the answer.</summary>
    public async Task<WatchResponse> CreateAsync(WatchCreateRequest request)
    {
        await SendAsync(new WatchRequest { CreateRequest = request });
        WatchResponse answer = await NextAsync();
        Assert.True(answer.Created, answer.ToString());
        Assert.Empty(answer.Events);
        return answer;
    }

    public Task CancelAsync(long id) => SendAsync(new WatchRequest { CancelRequest = new WatchCancelRequest { WatchId = id } });

    public Task AskProgressAsync() => SendAsync(new WatchRequest { ProgressRequest = new WatchProgressRequest() });

    public async Task<WatchResponse> NextAsync()
    {
        Assert.True(await _call.ResponseStream.MoveNext(_late.Token), "the stream ended");
        return _call.ResponseStream.Current;
    }

    /// <summary>This many events, in however many responses they come.</summary>
    public async Task<List<Event>> EventsAsync(int count)
    {
        List<Event> events = [];
        while (events.Count < count)
        {
            events.AddRange((await NextAsync()).Events);
        }

        Assert.Equal(count, events.Count);
        return events;
    }

    public void Dispose()
    {
        _call.Dispose();
        _late.Dispose();
    }
}

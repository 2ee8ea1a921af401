using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;
using Filter = Kapell.Etcd.Protocol.WatchCreateRequest.Types.FilterType;
using Kind = Kapell.Etcd.Protocol.Event.Types.EventType;

namespace Kapell.Conformance.Etcd;

/// <summary>Watch.</summary>
public sealed class WatchTests(StorePair stores)
{
    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Events_of_a_prefix_come_in_order_with_what_they_changed(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        WatchResponse created = await watch.CreateAsync(Prefix(store));
        Assert.Equal(await store.RevisionAsync(), created.Header.Revision);
        Assert.Equal((0, false), (created.WatchId, created.Canceled));
        long first = (await store.PutAsync("a", "1")).Header.Revision;
        await store.PutAsync("a", "2");
        await store.DeleteAsync("a");
        await store.DeleteAsync("a");
        await store.PutAsync("b", "3");
        List<Event> events = await watch.EventsAsync(4);
        Assert.Equal([Kind.Put, Kind.Put, Kind.Delete, Kind.Put], events.Select(e => e.Type));
        Assert.Equal("a=1 a=2 a= b=3", store.Show(events.Select(e => e.Kv)));
        Assert.Equal([first, first + 1, first + 2, first + 3], events.Select(e => e.Kv.ModRevision));
        Assert.Equal([first, first, 0, first + 3], events.Select(e => e.Kv.CreateRevision));
        Assert.Equal([1, 2, 0, 1], events.Select(e => e.Kv.Version));
        Assert.All(events, e => Assert.Null(e.PrevKv));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task All_events_of_a_transaction_come_together(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        await watch.CreateAsync(Prefix(store));
        await store.PutAsync("b", "0");
        Assert.Single((await watch.NextAsync()).Events);
        TxnRequest txn = new();
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("c") } });
        txn.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = store.Key("b") } });
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("a") } });
        long revision = (await store.TxnAsync(txn)).Header.Revision;
        WatchResponse response = await watch.NextAsync();
        Assert.Equal(["c", "b", "a"], response.Events.Select(e => store.Short(e.Kv.Key)));
        Assert.All(response.Events, e => Assert.Equal(revision, e.Kv.ModRevision));
        Assert.Equal(revision, response.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task The_pair_before_is_told_when_asked(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        WatchCreateRequest request = Prefix(store);
        request.PrevKv = true;
        await watch.CreateAsync(request);
        await store.PutAsync("a", "1");
        await store.PutAsync("a", "2");
        await store.DeleteAsync("a");
        await store.PutAsync("a", "3");
        List<Event> events = await watch.EventsAsync(4);
        Assert.Equal([null, "1", "2", null], events.Select(e => e.PrevKv?.Value.ToStringUtf8()));
        Assert.Equal(2, events[2].PrevKv.Version);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Filters_leave_out_puts_or_deletes(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        WatchCreateRequest noPut = Prefix(store);
        noPut.Filters.Add(Filter.Noput);
        WatchCreateRequest noDelete = Prefix(store);
        noDelete.Filters.Add(Filter.Nodelete);
        Assert.Equal(0, (await watch.CreateAsync(noPut)).WatchId);
        Assert.Equal(1, (await watch.CreateAsync(noDelete)).WatchId);
        await store.PutAsync("a", "1");
        await store.DeleteAsync("a");
        await store.PutAsync("b", "2");
        Dictionary<long, List<Event>> seen = new() { [0] = [], [1] = [] };
        while (seen[0].Count + seen[1].Count < 3)
        {
            WatchResponse response = await watch.NextAsync();
            seen[response.WatchId].AddRange(response.Events);
        }

        Assert.Equal([Kind.Delete], seen[0].Select(e => e.Type));
        Assert.Equal("a=1 b=2", store.Show(seen[1].Select(e => e.Kv)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task It_may_start_in_the_past_and_in_the_future(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long first = (await store.PutAsync("a", "1")).Header.Revision;
        await store.PutAsync("a", "2");
        await store.PutAsync("a", "3");
        using WatchCall past = new(store);
        WatchCreateRequest request = Prefix(store);
        (request.StartRevision, request.PrevKv) = (first + 1, true);
        await past.CreateAsync(request);
        List<Event> events = await past.EventsAsync(2);
        Assert.Equal("a=2 a=3", store.Show(events.Select(e => e.Kv)));
        Assert.Equal(["1", "2"], events.Select(e => e.PrevKv.Value.ToStringUtf8()));
        await store.PutAsync("a", "4");
        Assert.Equal("a=4", store.Show((await past.EventsAsync(1)).Select(e => e.Kv)));
        using WatchCall future = new(store);
        request = Prefix(store);
        request.StartRevision = first + 5;
        await future.CreateAsync(request);
        await store.PutAsync("a", "5");
        await store.PutAsync("a", "6");
        Assert.Equal("a=6", store.Show((await future.EventsAsync(1)).Select(e => e.Kv)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Started_before_the_compaction_it_is_cancelled_with_the_revision_to_go_on_from(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long first = (await store.PutAsync("a", "1")).Header.Revision;
        await store.PutAsync("a", "2");
        long last = (await store.PutAsync("a", "3")).Header.Revision;
        await store.CompactAsync(last);
        using WatchCall watch = new(store);
        WatchCreateRequest request = Prefix(store);
        request.StartRevision = first;
        WatchResponse created = await watch.CreateAsync(request);
        WatchResponse canceled = await watch.NextAsync();
        Assert.Equal((created.WatchId, true, last), (canceled.WatchId, canceled.Canceled, canceled.CompactRevision));
        Assert.Equal(await store.IsAtLeastAsync(3, 5) ? "" : "", canceled.CancelReason);
        request.StartRevision = last;
        await watch.CreateAsync(request);
        Assert.Equal("a=3", store.Show((await watch.EventsAsync(1)).Select(e => e.Kv)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_client_may_choose_the_number_of_a_watch_once(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        WatchCreateRequest request = Prefix(store);
        request.WatchId = 5;
        Assert.Equal(5, (await watch.CreateAsync(request)).WatchId);
        WatchResponse duplicate = await watch.CreateAsync(request);
        Assert.Equal((-1, true, "mvcc: duplicate watch ID provided on the WatchStream"), (duplicate.WatchId, duplicate.Canceled, duplicate.CancelReason));
        request.WatchId = 0;
        Assert.Equal(0, (await watch.CreateAsync(request)).WatchId);
        request.WatchId = 1;
        Assert.Equal(1, (await watch.CreateAsync(request)).WatchId);
        request.WatchId = 0;
        Assert.Equal(2, (await watch.CreateAsync(request)).WatchId);
        await watch.CancelAsync(5);
        WatchResponse canceled = await watch.NextAsync();
        Assert.Equal((5, true, false, ""), (canceled.WatchId, canceled.Canceled, canceled.Created, canceled.CancelReason));
        request.WatchId = 5;
        Assert.Equal(5, (await watch.CreateAsync(request)).WatchId);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task What_cannot_be_watched_is_cancelled_at_once(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        WatchResponse empty = await watch.CreateAsync(new WatchCreateRequest { Key = store.Key("b"), RangeEnd = store.Key("a") });
        Assert.Equal((-1, true), (empty.WatchId, empty.Canceled));
        if (await store.IsAtLeastAsync(3, 5))
        {
            Assert.Equal("mvcc: watcher range is empty", empty.CancelReason);
        }

        // Cancelling what is not there is no error and has no answer: the next answer is to the next request.
        await watch.CancelAsync(77);
        Assert.Equal(0, (await watch.CreateAsync(Prefix(store))).WatchId);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_cancelled_watch_is_silent_and_the_others_go_on(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        long one = (await watch.CreateAsync(Prefix(store))).WatchId;
        long two = (await watch.CreateAsync(Prefix(store))).WatchId;
        await watch.CancelAsync(one);
        Assert.True((await watch.NextAsync()).Canceled);
        await store.PutAsync("a", "1");
        await store.PutAsync("a", "2");
        List<Event> events = [];
        while (events.Count < 2)
        {
            WatchResponse response = await watch.NextAsync();
            Assert.Equal(two, response.WatchId);
            events.AddRange(response.Events);
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Progress_is_told_when_asked(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        await watch.CreateAsync(new WatchCreateRequest { Key = store.Key("quiet") });
        long now = (await store.PutAsync("other", "1")).Header.Revision;
        await watch.AskProgressAsync();
        WatchResponse progress = await watch.NextAsync();
        Assert.Empty(progress.Events);
        Assert.False(progress.Created || progress.Canceled);

        // Of the stream, or, before 3.4.25 and 3.5.8, of each watch.
        Assert.Contains(progress.WatchId, (long[])[-1, 0]);
        Assert.Equal(now, progress.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Large_responses_come_in_fragments_when_asked(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        ByteString value = ByteString.CopyFrom(new byte[1 << 20]);
        long first = 0;
        for (int i = 0; i < 5; i++)
        {
            long revision = (await store.PutAsync(new PutRequest { Key = store.Key("a"), Value = value })).Header.Revision;
            first = first == 0 ? revision : first;
        }

        using WatchCall watch = new(store);
        WatchCreateRequest request = Prefix(store);
        (request.StartRevision, request.Fragment) = (first, true);
        await watch.CreateAsync(request);
        int events = 0;
        int fragments = 0;
        while (events < 5)
        {
            WatchResponse response = await watch.NextAsync();
            Assert.True(response.CalculateSize() < 3 << 20);
            events += response.Events.Count;
            fragments += response.Fragment ? 1 : 0;
            Assert.True(events < 5 || !response.Fragment);
        }

        await store.DeleteAsync("a");
        Assert.Equal(Kind.Delete, (await watch.EventsAsync(1))[0].Type);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Many_watches_of_one_stream_each_get_their_key(StoreKind kind)
    {
        const int many = 200;
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        for (int i = 0; i < many; i++)
        {
            Assert.Equal(i, (await watch.CreateAsync(new WatchCreateRequest { Key = store.Key($"{i}") })).WatchId);
        }

        for (int i = many - 1; i >= 0; i--)
        {
            await store.PutAsync($"{i}", $"{i}");
        }

        HashSet<long> seen = [];
        while (seen.Count < many)
        {
            WatchResponse response = await watch.NextAsync();
            Event one = Assert.Single(response.Events);
            Assert.Equal($"{response.WatchId}", store.Short(one.Kv.Key));
            Assert.True(seen.Add(response.WatchId));
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task An_empty_key_with_an_unbounded_end_watches_everything(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        await watch.CreateAsync(new WatchCreateRequest { RangeEnd = ByteString.CopyFrom(0) });
        await store.PutAsync("a", "1");
        Assert.Equal("a=1", store.Show((await watch.EventsAsync(1)).Select(e => e.Kv)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_watch_that_falls_behind_loses_nothing(StoreKind kind)
    {
        const int many = 3000;
        StoreClient store = await stores.ClientAsync(kind);
        using WatchCall watch = new(store);
        await watch.CreateAsync(Prefix(store));
        long first = (await store.PutAsync("a", "v")).Header.Revision;
        foreach (int[] chunk in Enumerable.Range(1, many - 1).Chunk(200))
        {
            await Task.WhenAll(chunk.Select(i => store.PutAsync("a", $"{i}")));
        }

        List<Event> events = await watch.EventsAsync(many);
        Assert.Equal(Enumerable.Range(0, many).Select(i => first + i), events.Select(e => e.Kv.ModRevision));
    }

    private static WatchCreateRequest Prefix(StoreClient store) => new() { Key = StoreClient.Bytes(store.Prefix), RangeEnd = store.PrefixEnd };
}

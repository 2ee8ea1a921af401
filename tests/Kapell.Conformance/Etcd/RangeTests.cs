using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;
using SortOrder = Kapell.Etcd.Protocol.RangeRequest.Types.SortOrder;
using SortTarget = Kapell.Etcd.Protocol.RangeRequest.Types.SortTarget;

namespace Kapell.Conformance.Etcd;

/// <summary>KV.Range.</summary>
public sealed class RangeTests(StorePair stores)
{
    private static readonly ByteString Unbounded = ByteString.CopyFrom(0);

    /// <summary>Of 3.7: the installed etcd may not have it.</summary>
    [Fact]
    public async Task A_range_in_pieces_is_the_range_at_one_revision()
    {
        StoreClient store = await stores.ClientAsync(StoreKind.Kapell);
        for (int i = 0; i < 300; i++)
        {
            await store.PutAsync($"{i:d3}", new string('v', i * 20));
        }

        RangeRequest[] requests =
        [
            store.All(), new(store.All()) { Limit = 37 }, new(store.All()) { Limit = 300 }, new(store.All()) { KeysOnly = true },
            new(store.All()) { CountOnly = true }, new(store.All()) { Limit = 1 }, new() { Key = store.Key("007") }, new() { Key = store.Key("none") },
            new(store.All()) { SortTarget = SortTarget.Value, Limit = 37 }, new(store.All()) { SortTarget = SortTarget.Create },
        ];
        foreach (RangeRequest request in requests)
        {
            RangeResponse whole = await store.RangeAsync(request);
            RangeResponse merged = new();
            int pieces = 0;
            using AsyncServerStreamingCall<RangeStreamResponse> call = store.Kv.RangeStream(request, cancellationToken: TestContext.Current.CancellationToken);
            while (await call.ResponseStream.MoveNext(TestContext.Current.CancellationToken))
            {
                Assert.Null(merged.Header);
                merged.MergeFrom(call.ResponseStream.Current.RangeResponse);
                if (++pieces == 1)
                {
                    // What is written meanwhile does not show.
                    await store.PutAsync("150", "later");
                }
            }

            Assert.Equal(whole, merged);
            Assert.True(pieces > 1 || whole.Kvs.Count <= 10 || request.SortTarget != SortTarget.Key, $"{pieces} pieces for {request}");
        }

        RangeRequest sorted = new(store.All()) { SortTarget = SortTarget.Mod, SortOrder = SortOrder.Descend };
        using AsyncServerStreamingCall<RangeStreamResponse> refused = store.Kv.RangeStream(sorted, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(
            "Unimplemented: RangeStream does not support custom sort orders",
            await StoreClient.RefusalAsync(() => refused.ResponseStream.MoveNext(TestContext.Current.CancellationToken)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task One_key_a_prefix_an_interval_and_from_a_key_on(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        foreach (string key in (string[])["a", "b", "b/1", "c"])
        {
            await store.PutAsync(key, key);
        }

        Assert.Equal("b=b", store.Show(await store.GetAsync("b")));
        Assert.Equal("", store.Show(await store.GetAsync("x")));
        Assert.Equal("a=a b=b b/1=b/1 c=c", store.Show(await store.RangeAsync(store.All())));
        Assert.Equal("a=a b=b", store.Show(await store.RangeAsync(new RangeRequest { Key = store.Key("a"), RangeEnd = store.Key("b/") })));
        RangeResponse rest = await store.RangeAsync(new RangeRequest { Key = store.Key("b/1"), RangeEnd = Unbounded });
        Assert.StartsWith("b/1=b/1 c=c", store.Show(rest.Kvs.Take(2)), StringComparison.Ordinal);
        RangeResponse everything = await store.RangeAsync(new RangeRequest { Key = Unbounded, RangeEnd = Unbounded, CountOnly = true });
        Assert.True(everything.Count >= 4);

        // An end that is not after the key is an empty range, not an error.
        RangeResponse empty = await store.RangeAsync(new RangeRequest { Key = store.Key("c"), RangeEnd = store.Key("a") });
        Assert.Equal((0, 0L, false), (empty.Kvs.Count, empty.Count, empty.More));
        RangeResponse self = await store.RangeAsync(new RangeRequest { Key = store.Key("a"), RangeEnd = store.Key("a") });
        Assert.Equal(0, self.Count);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_pair_has_its_revisions_version_and_lease(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 100)).ID;
        long created = (await store.PutAsync("a", "1")).Header.Revision;
        long changed = (await store.PutAsync("a", "2", lease)).Header.Revision;
        Assert.Equal(created + 1, changed);
        RangeResponse response = await store.GetAsync("a");
        KeyValue expected = new()
        {
            Key = store.Key("a"), Value = ByteString.CopyFromUtf8("2"), CreateRevision = created, ModRevision = changed, Version = 2, Lease = lease,
        };
        Assert.Equal(expected, Assert.Single(response.Kvs));
        Assert.Equal(changed, response.Header.Revision);
        Assert.NotEqual(0UL, response.Header.ClusterId);
        Assert.NotEqual(0UL, response.Header.MemberId);
        Assert.True(response.Header.RaftTerm > 0);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Limit_and_more_and_count(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        foreach (string key in (string[])["a", "b", "c"])
        {
            await store.PutAsync(key, "v");
        }

        async Task<(string Pairs, long Count, bool More)> Ask(Action<RangeRequest> change)
        {
            RangeRequest request = store.All();
            change(request);
            RangeResponse response = await store.RangeAsync(request);
            return (store.Show(response), response.Count, response.More);
        }

        Assert.Equal(("a=v b=v", 3, true), await Ask(r => r.Limit = 2));
        Assert.Equal(("a=v b=v c=v", 3, false), await Ask(r => r.Limit = 3));
        Assert.Equal(("a=v b=v c=v", 3, false), await Ask(r => r.Limit = 4));
        Assert.Equal(("a=v b=v c=v", 3, false), await Ask(r => r.Limit = 0));
        Assert.Equal(("a=v b=v c=v", 3, false), await Ask(r => r.Limit = -1));
        Assert.Equal(("", 3, false), await Ask(r => r.CountOnly = true));
        Assert.Equal(("", 3, false), await Ask(r => (r.CountOnly, r.Limit) = (true, 1)));
        Assert.Equal(("a= b= c=", 3, false), await Ask(r => r.KeysOnly = true));
        Assert.Equal(("c=v b=v", 3, true), await Ask(r => (r.Limit, r.SortOrder) = (2, SortOrder.Descend)));
        Assert.Equal(("", 3, false), await Ask(r => (r.KeysOnly, r.CountOnly) = (true, true)));
        Assert.Equal(("a= b=", 3, true), await Ask(r => (r.KeysOnly, r.Limit) = (true, 2)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Sorted_by_each_target_in_each_order(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        // Creation c a b; modification a b c; versions b 1, a 2, c 3; values b < c < a.
        await store.PutAsync("c", "x");
        await store.PutAsync("a", "x");
        await store.PutAsync("c", "x");
        await store.PutAsync("a", "9");
        await store.PutAsync("b", "1");
        await store.PutAsync("c", "5");
        (SortTarget Target, string Rising)[] cases =
        [
            (SortTarget.Key, "abc"), (SortTarget.Version, "bac"), (SortTarget.Create, "cab"), (SortTarget.Mod, "abc"), (SortTarget.Value, "bca"),
        ];
        foreach ((SortTarget target, string rising) in cases)
        {
            foreach (SortOrder order in (SortOrder[])[SortOrder.None, SortOrder.Ascend, SortOrder.Descend])
            {
                RangeRequest request = store.All();
                (request.SortTarget, request.SortOrder) = (target, order);
                RangeResponse response = await store.RangeAsync(request);
                string expected = order == SortOrder.Descend ? string.Concat(rising.Reverse()) : rising;
                Assert.Equal(expected, string.Concat(response.Kvs.Select(p => store.Short(p.Key))));
                (request.Limit, request.KeysOnly) = (2, true);
                response = await store.RangeAsync(request);
                Assert.Equal(expected[..2], string.Concat(response.Kvs.Select(p => store.Short(p.Key))));
                Assert.True(response.More);
                Assert.All(response.Kvs, p => Assert.True(p.Value.IsEmpty));
            }
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Bounds_of_revisions_filter_what_is_returned_but_not_what_is_counted(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long first = (await store.PutAsync("a", "v")).Header.Revision;
        await store.PutAsync("b", "v");
        await store.PutAsync("c", "v");
        await store.PutAsync("a", "v");

        async Task<(string Keys, long Count, bool More)> Ask(Action<RangeRequest> change)
        {
            RangeRequest request = store.All();
            change(request);
            RangeResponse response = await store.RangeAsync(request);
            return (string.Concat(response.Kvs.Select(p => store.Short(p.Key))), response.Count, response.More);
        }

        Assert.Equal(("ac", 3, false), await Ask(r => r.MinModRevision = first + 2));
        Assert.Equal(("bc", 3, false), await Ask(r => r.MaxModRevision = first + 2));
        Assert.Equal(("bc", 3, false), await Ask(r => r.MinCreateRevision = first + 1));
        Assert.Equal(("ab", 3, false), await Ask(r => r.MaxCreateRevision = first + 1));
        Assert.Equal(("c", 3, false), await Ask(r => (r.MinModRevision, r.MaxModRevision) = (first + 2, first + 2)));
        Assert.Equal(("", 3, false), await Ask(r => r.MinModRevision = first + 100));
        Assert.Equal(("b", 3, true), await Ask(r => (r.MaxModRevision, r.Limit) = (first + 2, 1)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task The_past_can_be_read_and_the_future_cannot(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long first = (await store.PutAsync("a", "1")).Header.Revision;
        await store.PutAsync("b", "1");
        await store.PutAsync("a", "2");
        long gone = (await store.DeleteAsync("a")).Header.Revision;
        Assert.Equal(first + 3, gone);
        Assert.Equal("a=1", store.Show(await store.GetAsync("a", first)));
        Assert.Equal("a=2", store.Show(await store.GetAsync("a", first + 2)));
        Assert.Equal("", store.Show(await store.GetAsync("a", gone)));
        Assert.Equal("", store.Show(await store.GetAsync("b", first)));
        RangeRequest past = store.All();
        past.Revision = first + 1;
        RangeResponse then = await store.RangeAsync(past);
        Assert.Equal("a=1 b=1", store.Show(then));
        Assert.Equal((2, gone), (then.Count, then.Header.Revision));
        Assert.Equal(
            "OutOfRange: etcdserver: mvcc: required revision is a future revision",
            await StoreClient.RefusalAsync(() => store.GetAsync("a", gone + 1)));
        Assert.Equal("b=1", store.Show(await store.GetAsync("b", -1)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_serializable_read_is_answered_alike(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        Assert.Equal("a=1", store.Show(await store.RangeAsync(new RangeRequest { Key = store.Key("a"), Serializable = true })));
        Assert.Equal(
            "OutOfRange: etcdserver: mvcc: required revision is a future revision",
            await StoreClient.RefusalAsync(() => store.RangeAsync(new RangeRequest { Key = store.Key("a"), Serializable = true, Revision = 1L << 40 })));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task What_makes_no_sense_is_refused(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        Assert.Equal(
            "InvalidArgument: etcdserver: key is not provided", await StoreClient.RefusalAsync(() => store.RangeAsync(new RangeRequest())));
        Assert.Equal(
            "InvalidArgument: etcdserver: key is not provided",
            await StoreClient.RefusalAsync(() => store.RangeAsync(new RangeRequest { RangeEnd = Unbounded })));
        if (await store.IsAtLeastAsync(3, 5))
        {
            Assert.Equal(
                "InvalidArgument: etcdserver: invalid sort option",
                await StoreClient.RefusalAsync(() => store.RangeAsync(new RangeRequest { Key = store.Key("a"), SortOrder = (SortOrder)9 })));
            Assert.Equal(
                "InvalidArgument: etcdserver: invalid sort option",
                await StoreClient.RefusalAsync(() => store.RangeAsync(new RangeRequest { Key = store.Key("a"), SortTarget = (SortTarget)9 })));
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Keys_and_values_are_bytes(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        ByteString odd = ByteString.CopyFrom([.. store.Key("").Span, 0xFF, 0, 0xFE]);
        ByteString value = ByteString.CopyFrom(0, 0xFF, 0x80);
        await store.PutAsync(new PutRequest { Key = odd, Value = value });
        await store.PutAsync("é", "");
        RangeResponse response = await store.RangeAsync(store.All());
        Assert.Equal([store.Key("é"), odd], response.Kvs.Select(p => p.Key));
        Assert.Equal([ByteString.Empty, value], response.Kvs.Select(p => p.Value));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Thousands_of_keys_are_answered_as_they_stood_at_one_moment(StoreKind kind)
    {
        const int Keys = 8000;
        StoreClient store = await stores.ClientAsync(kind);
        RequestOp Put(int key, string value) => new() { RequestPut = new PutRequest { Key = store.Key($"{key:D4}"), Value = StoreClient.Bytes(value) } };
        for (int i = 0; i < Keys; i += 16)
        {
            TxnRequest some = new();
            some.Success.AddRange(Enumerable.Range(i, 16).Select(k => Put(k, "0")));
            await store.TxnAsync(some);
        }

        await store.PutAsync($"{Keys}", "0");
        using CancellationTokenSource enough = new();
        Task writing = Task.Run(async () =>
        {
            for (int i = 1; !enough.IsCancellationRequested; i++)
            {
                // The first and the last always have the same value; a key between comes and goes.
                TxnRequest both = new();
                both.Success.Add(Put(0, $"{i}"));
                both.Success.Add(Put(Keys - 1, $"{i}"));
                both.Success.Add(i % 2 == 0 ? Put(Keys, "0") : new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = store.Key($"{Keys}") } });
                await store.TxnAsync(both);
            }
        });
        HashSet<string> seen = [];
        for (int i = 0; i < 20; i++)
        {
            RangeRequest request = store.All();
            request.SortOrder = i % 2 == 0 ? RangeRequest.Types.SortOrder.None : RangeRequest.Types.SortOrder.Descend;
            RangeResponse response = await store.RangeAsync(request);
            Assert.InRange(response.Kvs.Count, Keys, Keys + 1);
            Assert.Equal(response.Kvs.Count, response.Count);
            List<KeyValue> pairs = [.. response.Kvs.OrderBy(p => store.Short(p.Key), StringComparer.Ordinal)];
            Assert.Equal(i % 2 == 0 ? pairs : pairs.AsEnumerable().Reverse(), response.Kvs);
            Assert.Equal(pairs[0].Value, pairs[Keys - 1].Value);
            Assert.Equal(Keys + (int.Parse(pairs[0].Value.ToStringUtf8(), System.Globalization.CultureInfo.InvariantCulture) % 2 == 0 ? 1 : 0), pairs.Count);
            Assert.All(pairs, p => Assert.True(p.ModRevision <= response.Header.Revision));
            seen.Add(pairs[0].Value.ToStringUtf8());
            request.CountOnly = true;
            Assert.InRange((await store.RangeAsync(request)).Count, Keys, Keys + 1);
        }

        await enough.CancelAsync();
        await writing;
        Assert.True(seen.Count > 1, "nothing was written meanwhile");
        RangeRequest limited = store.All();
        limited.Limit = Keys - 1;
        limited.KeysOnly = true;
        RangeResponse first = await store.RangeAsync(limited);
        Assert.True(first.More && first.Kvs.Count == Keys - 1 && first.Count >= Keys && first.Kvs.All(static p => p.Value.IsEmpty));
    }
}

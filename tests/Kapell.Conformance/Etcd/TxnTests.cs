using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;
using Result = Kapell.Etcd.Protocol.Compare.Types.CompareResult;
using Target = Kapell.Etcd.Protocol.Compare.Types.CompareTarget;

namespace Kapell.Conformance.Etcd;

/// <summary>KV.Txn.</summary>
public sealed class TxnTests(StorePair stores)
{
    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Each_target_is_compared_with_each_result(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long lease = (await store.GrantAsync(0, 100)).ID;
        long create = (await store.PutAsync("a", "1")).Header.Revision;
        long mod = (await store.PutAsync("a", "m", lease)).Header.Revision;
        Func<int, Compare>[] compares =
        [
            d => new Compare { Target = Target.Version, Version = 2 + d },
            d => new Compare { Target = Target.Create, CreateRevision = create + d },
            d => new Compare { Target = Target.Mod, ModRevision = mod + d },
            d => new Compare { Target = Target.Value, Value = StoreClient.Bytes(((char)('m' + d)).ToString()) },
            d => new Compare { Target = Target.Lease, Lease = lease + d },
        ];
        foreach (Func<int, Compare> make in compares)
        {
            foreach (int difference in (int[])[-1, 0, 1])
            {
                foreach (Result result in (Result[])[Result.Equal, Result.Greater, Result.Less, Result.NotEqual])
                {
                    Compare compare = make(difference);
                    (compare.Key, compare.Result) = (store.Key("a"), result);

                    // What is compared is the stored one with the given one, so a smaller given one makes it greater.
                    bool expected = result switch
                    {
                        Result.Equal => difference == 0,
                        Result.Greater => difference < 0,
                        Result.Less => difference > 0,
                        _ => difference != 0,
                    };
                    TxnResponse response = await store.TxnAsync(new TxnRequest { Compare = { compare } });
                    Assert.True(expected == response.Succeeded, $"{compare} gave {response.Succeeded}");
                    Assert.Equal(mod, response.Header.Revision);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_key_that_is_not_there_compares_as_zeros_and_has_no_value(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        async Task<bool> Holds(Compare compare)
        {
            compare.Key = store.Key("none");
            return (await store.TxnAsync(new TxnRequest { Compare = { compare } })).Succeeded;
        }

        Assert.True(await Holds(new Compare { Target = Target.Version, Version = 0 }));
        Assert.True(await Holds(new Compare { Target = Target.Create, CreateRevision = 0 }));
        Assert.True(await Holds(new Compare { Target = Target.Mod, ModRevision = 0 }));
        Assert.True(await Holds(new Compare { Target = Target.Lease, Lease = 0 }));
        Assert.True(await Holds(new Compare { Target = Target.Version, Version = 1, Result = Result.Less }));
        Assert.True(await Holds(new Compare { Target = Target.Mod }));
        Assert.False(await Holds(new Compare { Target = Target.Mod, Result = Result.NotEqual, ModRevision = 0 }));
        Assert.False(await Holds(new Compare { Target = Target.Value, Value = ByteString.Empty }));
        Assert.False(await Holds(new Compare { Target = Target.Value, Value = StoreClient.Bytes("x"), Result = Result.NotEqual }));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task A_comparison_of_a_range_must_hold_for_every_key_in_it(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        await store.PutAsync("b", "2");
        async Task<bool> Holds(Compare compare)
        {
            (compare.Key, compare.RangeEnd) = (store.Key("a"), compare.RangeEnd.IsEmpty ? store.PrefixEnd : compare.RangeEnd);
            return (await store.TxnAsync(new TxnRequest { Compare = { compare } })).Succeeded;
        }

        Assert.True(await Holds(new Compare { Target = Target.Version, Version = 1 }));
        Assert.False(await Holds(new Compare { Target = Target.Value, Value = StoreClient.Bytes("1") }));
        Assert.True(await Holds(new Compare { Target = Target.Value, Value = StoreClient.Bytes("0"), Result = Result.Greater }));
        Assert.True(await Holds(new Compare { Target = Target.Value, Value = StoreClient.Bytes("1"), RangeEnd = store.Key("b") }));
        Assert.True(await Holds(new Compare { Target = Target.Version, Version = 0, RangeEnd = store.Key("A") }));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task All_writes_of_one_make_one_revision_and_reads_see_the_writes_before_them(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long before = (await store.PutAsync("old", "v")).Header.Revision;
        TxnRequest request = new();
        request.Success.Add(Range(store.All()));
        request.Success.Add(Put(store.Key("a"), "1"));
        request.Success.Add(Range(store.All()));
        request.Success.Add(Delete(store.Key("old")));
        request.Success.Add(Put(store.Key("b"), "2"));
        request.Success.Add(Range(store.All()));
        RequestOp past = Range(store.All());
        past.RequestRange.Revision = before;
        request.Success.Add(past);
        TxnResponse response = await store.TxnAsync(request);
        Assert.True(response.Succeeded);
        Assert.Equal(before + 1, response.Header.Revision);
        Assert.Equal(
            ["old=v", "a=1 old=v", "a=1 b=2", "old=v"],
            response.Responses.Where(r => r.ResponseRange is not null).Select(r => store.Show(r.ResponseRange)));
        Assert.Equal(
            [before, before + 1, before + 1, before + 1, before + 1, before + 1, before + 1],
            response.Responses.Select(r => HeaderOf(r).Revision));
        Assert.All(response.Responses, r => Assert.Equal((0UL, 0UL, 0UL), (HeaderOf(r).ClusterId, HeaderOf(r).MemberId, HeaderOf(r).RaftTerm)));
        Assert.Equal(1, response.Responses[3].ResponseDeleteRange.Deleted);
        RangeResponse after = await store.RangeAsync(store.All());
        Assert.All(after.Kvs, p => Assert.Equal((before + 1, before + 1, 1), (p.CreateRevision, p.ModRevision, p.Version)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Without_a_write_there_is_no_revision(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        long before = await store.RevisionAsync();
        TxnResponse empty = await store.TxnAsync(new TxnRequest());
        Assert.Equal((true, before, 0), (empty.Succeeded, empty.Header.Revision, empty.Responses.Count));
        TxnResponse noop = await store.TxnAsync(new TxnRequest { Success = { Delete(store.Key("none")) } });
        Assert.Equal((before, 0), (noop.Header.Revision, noop.Responses[0].ResponseDeleteRange.Deleted));
        Assert.Equal(before, noop.Responses[0].ResponseDeleteRange.Header.Revision);
        TxnResponse reads = await store.TxnAsync(new TxnRequest { Success = { Range(store.All()) } });
        Assert.Equal(before, reads.Header.Revision);
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task The_comparisons_choose_the_branch_and_puts_tell_the_pair_before(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        TxnRequest create = new() { Compare = { new Compare { Key = store.Key("a"), Target = Target.Create, CreateRevision = 0 } } };
        RequestOp put = Put(store.Key("a"), "mine");
        put.RequestPut.PrevKv = true;
        create.Success.Add(put);
        create.Failure.Add(Range(store.All()));
        TxnResponse first = await store.TxnAsync(create);
        Assert.True(first.Succeeded);
        Assert.Null(first.Responses[0].ResponsePut.PrevKv);
        TxnResponse second = await store.TxnAsync(create);
        Assert.False(second.Succeeded);
        Assert.Equal("a=mine", store.Show(second.Responses[0].ResponseRange));
        Assert.Equal(first.Header.Revision, second.Header.Revision);
        RequestOp again = Put(store.Key("a"), "2");
        again.RequestPut.PrevKv = true;
        RequestOp delete = Delete(store.Key("b"));
        delete.RequestDeleteRange.PrevKv = true;
        await store.PutAsync("b", "old");
        TxnResponse third = await store.TxnAsync(new TxnRequest { Success = { again, delete } });
        Assert.Equal("mine", third.Responses[0].ResponsePut.PrevKv.Value.ToStringUtf8());
        Assert.Equal("b=old", store.Show(third.Responses[1].ResponseDeleteRange.PrevKvs));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task Nested_ones_choose_by_the_state_before_all_of_it(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        TxnRequest inner = new() { Compare = { new Compare { Key = store.Key("a"), Target = Target.Version, Version = 0 } } };
        inner.Success.Add(Put(store.Key("inner"), "no a yet"));
        inner.Failure.Add(Put(store.Key("inner"), "a is there"));
        TxnRequest outer = new() { Success = { Put(store.Key("a"), "1"), new RequestOp { RequestTxn = inner }, Range(store.All()) } };
        TxnResponse response = await store.TxnAsync(outer);
        TxnResponse nested = response.Responses[1].ResponseTxn;
        Assert.True(nested.Succeeded);
        Assert.Equal(response.Header.Revision, nested.Responses[0].ResponsePut.Header.Revision);
        Assert.Equal("a=1 inner=no a yet", store.Show(response.Responses[2].ResponseRange));
        response = await store.TxnAsync(new TxnRequest { Success = { new RequestOp { RequestTxn = inner } } });
        Assert.False(response.Responses[0].ResponseTxn.Succeeded);
        Assert.Equal("a=1 inner=a is there", store.Show(await store.RangeAsync(store.All())));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task No_key_may_be_written_twice(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        ByteString a = store.Key("a");
        ByteString b = store.Key("b");
        RequestOp Nested(RequestOp[] success, params RequestOp[] failure) =>
            new() { RequestTxn = new TxnRequest { Success = { success }, Failure = { failure } } };
        RequestOp DeleteAll() => new() { RequestDeleteRange = new DeleteRangeRequest { Key = store.Key(""), RangeEnd = store.PrefixEnd } };
        const string twice = "InvalidArgument: etcdserver: duplicate key given in txn request";
        async Task Refused(params RequestOp[] ops) =>
            Assert.Equal(twice, await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Success = { ops } })));
        async Task Taken(params RequestOp[] ops) => Assert.True((await store.TxnAsync(new TxnRequest { Success = { ops } })).Succeeded);
        await Refused(Put(a, "1"), Put(a, "2"));
        await Refused(Put(a, "1"), Delete(a));
        await Refused(Delete(a), Put(a, "1"));
        await Refused(Put(a, "1"), DeleteAll());
        await Refused(Put(a, "1"), Nested([Put(a, "2")]));
        await Refused(Put(a, "1"), Nested([], Put(a, "2")));
        await Refused(Nested([Put(a, "1")]), Nested([Put(a, "2")]));
        await Refused(Nested([Delete(a)]), Put(a, "1"));
        await Refused(DeleteAll(), Nested([Put(a, "1")]));
        await Taken(Nested([Put(a, "1")], Put(a, "2")));
        await Taken(Put(a, "1"), Put(b, "2"));
        await Taken(Delete(a), Delete(a), DeleteAll());
        await Taken(Put(a, "1"), Delete(b));
        TxnRequest branches = new() { Success = { Put(a, "1") }, Failure = { Put(a, "2"), Delete(b) } };
        Assert.True((await store.TxnAsync(branches)).Succeeded);
        branches.Failure.Add(Put(b, "3"));
        Assert.Equal(twice, await StoreClient.RefusalAsync(() => store.TxnAsync(branches)));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task The_number_of_operations_is_bounded(StoreKind kind)
    {
        // Both are started with a bound of 16.
        StoreClient store = await stores.ClientAsync(kind);
        const string tooMany = "InvalidArgument: etcdserver: too many operations in txn request";
        RequestOp[] Reads(int count) => [.. Enumerable.Range(0, count).Select(_ => Range(store.All()))];
        Assert.True((await store.TxnAsync(new TxnRequest { Success = { Reads(16) }, Failure = { Reads(16) } })).Succeeded);
        Assert.Equal(tooMany, await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Success = { Reads(17) } })));
        Assert.Equal(tooMany, await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Failure = { Reads(17) } })));
        TxnRequest compares = new();
        compares.Compare.AddRange(Enumerable.Range(0, 17).Select(_ => new Compare { Key = store.Key("a") }));
        Assert.Equal(tooMany, await StoreClient.RefusalAsync(() => store.TxnAsync(compares)));
        RequestOp nested = new() { RequestTxn = new TxnRequest { Success = { Reads(15) } } };
        Assert.True((await store.TxnAsync(new TxnRequest { Success = { nested } })).Succeeded);
        nested.RequestTxn.Success.Add(Range(store.All()));
        Assert.Equal(tooMany, await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Success = { nested } })));
    }

    [Theory]
    [MemberData(nameof(StorePair.All), MemberType = typeof(StorePair))]
    public async Task What_cannot_be_done_is_refused_whole(StoreKind kind)
    {
        StoreClient store = await stores.ClientAsync(kind);
        await store.PutAsync("a", "1");
        long before = await store.RevisionAsync();
        async Task Refused(string expected, params RequestOp[] ops) =>
            Assert.Equal(expected, await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Success = { Put(store.Key("z"), "1") , ops } })));
        RequestOp future = Range(store.All());
        future.RequestRange.Revision = before + 2;
        await Refused("InvalidArgument: etcdserver: key is not provided", Range(new RangeRequest()));
        await Refused("InvalidArgument: etcdserver: key is not provided", Delete(ByteString.Empty));
        await Refused("InvalidArgument: etcdserver: key is not provided", Put(ByteString.Empty, ""));
        await Refused("InvalidArgument: etcdserver: key not found", new RequestOp());
        await Refused("OutOfRange: etcdserver: mvcc: required revision is a future revision", future);
        await Refused(
            "NotFound: etcdserver: requested lease not found", new RequestOp { RequestPut = new PutRequest { Key = store.Key("l"), Lease = 4242 } });
        await Refused(
            "InvalidArgument: etcdserver: key not found", new RequestOp { RequestPut = new PutRequest { Key = store.Key("n"), IgnoreValue = true } });
        await Refused(
            "InvalidArgument: etcdserver: value is provided",
            new RequestOp { RequestPut = new PutRequest { Key = store.Key("n"), IgnoreValue = true, Value = store.Key("v") } });
        await Refused(
            "InvalidArgument: etcdserver: lease is provided",
            new RequestOp { RequestPut = new PutRequest { Key = store.Key("n"), IgnoreLease = true, Lease = 1 } });
        Assert.Equal(
            "InvalidArgument: etcdserver: key is not provided",
            await StoreClient.RefusalAsync(() => store.TxnAsync(new TxnRequest { Compare = { new Compare() } })));
        Assert.Equal(before, await store.RevisionAsync());

        // What is not on the chosen branch is not done, so it may be what cannot be done.
        TxnResponse other = await store.TxnAsync(new TxnRequest
        {
            Failure = { new RequestOp { RequestPut = new PutRequest { Key = store.Key("l"), Lease = 4242 } } },
        });
        Assert.True(other.Succeeded);
    }

    private static RequestOp Put(ByteString key, string value) =>
        new() { RequestPut = new PutRequest { Key = key, Value = StoreClient.Bytes(value) } };

    private static RequestOp Delete(ByteString key) => new() { RequestDeleteRange = new DeleteRangeRequest { Key = key } };

    private static RequestOp Range(RangeRequest request) => new() { RequestRange = request };

    private static ResponseHeader HeaderOf(ResponseOp response) => response.ResponseCase switch
    {
        ResponseOp.ResponseOneofCase.ResponseRange => response.ResponseRange.Header,
        ResponseOp.ResponseOneofCase.ResponsePut => response.ResponsePut.Header,
        ResponseOp.ResponseOneofCase.ResponseDeleteRange => response.ResponseDeleteRange.Header,
        _ => response.ResponseTxn.Header,
    };

    // A range without an end may lie before a put of one of its keys. Upstream ends with a panic, at each start anew.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_put_that_keeps_what_its_transaction_deleted_before_is_refused(bool keepsValue)
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, TestContext.Current.CancellationToken)) { Prefix = "t/" };
        await store.PutAsync("b", "1");
        TxnRequest txn = new();
        txn.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = store.Key("a"), RangeEnd = ByteString.CopyFrom(0) } });
        TxnRequest inner = new();
        inner.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("b"), IgnoreValue = keepsValue, IgnoreLease = !keepsValue } });
        txn.Success.Add(new RequestOp { RequestTxn = inner });
        Assert.Equal("InvalidArgument: etcdserver: key not found", await StoreClient.RefusalAsync(() => store.TxnAsync(txn)));
        Assert.Equal("1", Assert.Single((await store.GetAsync("b")).Kvs).Value.ToStringUtf8());
        inner.Success[0].RequestPut.IgnoreValue = inner.Success[0].RequestPut.IgnoreLease = false;
        Assert.True((await store.TxnAsync(txn)).Succeeded);
    }

    // Upstream makes the answer, whatever it takes.
    [Fact]
    public async Task An_answer_that_is_too_large_is_refused_and_what_was_asked_for_is_done()
    {
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, TestContext.Current.CancellationToken)) { Prefix = "t/" };
        ByteString large = ByteString.CopyFrom(new byte[1_400_000]);
        for (int i = 0; i < 20; i++)
        {
            await store.PutAsync(new PutRequest { Key = store.Key($"k{i}"), Value = large });
        }

        Assert.Equal(20, (await store.RangeAsync(store.All())).Kvs.Count(kv => kv.Value == large));
        TxnRequest txn = new();
        for (int i = 0; i < 10; i++)
        {
            txn.Success.Add(new RequestOp { RequestRange = store.All() });
        }

        const string refusal = "ResourceExhausted: etcdserver: response is too large: over 134217728 bytes";
        Assert.Equal(refusal, await StoreClient.RefusalAsync(() => store.TxnAsync(txn)));
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("done"), Value = StoreClient.Bytes("1") } });
        Assert.Equal(refusal + "; what was asked for is done", await StoreClient.RefusalAsync(() => store.TxnAsync(txn)));
        Assert.Equal("1", Assert.Single((await store.GetAsync("done")).Kvs).Value.ToStringUtf8());
    }
}

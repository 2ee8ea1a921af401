using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

public sealed class KeyNamespaceTests
{
    private static readonly IReadOnlyDictionary<string, MessageView> Views = new KeyNamespace("a/").Views();

    private static ByteString Key(string text) => ByteString.CopyFromUtf8(text);

    [Theory]
    [InlineData("k", "", "a/k", "")]
    [InlineData("k", "l", "a/k", "a/l")]
    [InlineData("k", "\0", "a/k", "a0")] // To the end is to the end of what begins with the prefix.
    [InlineData("\0", "\0", "a/\0", "a0")]
    public void A_range_stays_within_the_prefix(string key, string end, string sentKey, string sentEnd)
    {
        byte[] sent = Views["/etcdserverpb.KV/Range"].Request(new RangeRequest { Key = Key(key), RangeEnd = Key(end) }.ToByteArray());
        RangeRequest request = RangeRequest.Parser.ParseFrom(sent);
        Assert.Equal((sentKey, sentEnd), (request.Key.ToStringUtf8(), request.RangeEnd.ToStringUtf8()));
    }

    [Fact]
    public void A_prefix_of_the_highest_bytes_goes_to_the_end_of_all()
    {
        MessageView view = new KeyNamespace("\u00ff").Views()["/etcdserverpb.KV/Range"]; // In UTF-8 c3 bf
        RangeRequest request = RangeRequest.Parser.ParseFrom(view.Request(new RangeRequest { Key = Key("k"), RangeEnd = ByteString.CopyFrom(0) }.ToByteArray()));
        Assert.Equal([0xc3, 0xc0], request.RangeEnd.ToByteArray());
    }

    [Fact]
    public void A_transaction_within_a_transaction_is_entered_and_left()
    {
        TxnRequest inner = new();
        inner.Compare.Add(new Compare { Key = Key("c") });
        inner.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = Key("p") } });
        TxnRequest outer = new();
        outer.Failure.Add(new RequestOp { RequestTxn = inner });
        TxnRequest sent = TxnRequest.Parser.ParseFrom(Views["/etcdserverpb.KV/Txn"].Request(outer.ToByteArray()));
        Assert.Equal("a/c", sent.Failure[0].RequestTxn.Compare[0].Key.ToStringUtf8());
        Assert.Equal("a/p", sent.Failure[0].RequestTxn.Success[0].RequestPut.Key.ToStringUtf8());

        RangeResponse range = new();
        range.Kvs.Add(new KeyValue { Key = Key("a/r") });
        TxnResponse innerResponse = new();
        innerResponse.Responses.Add(new ResponseOp { ResponseRange = range });
        TxnResponse response = new();
        response.Responses.Add(new ResponseOp { ResponseTxn = innerResponse });
        TxnResponse seen = TxnResponse.Parser.ParseFrom(Views["/etcdserverpb.KV/Txn"].Response(response.ToByteArray()));
        Assert.Equal("r", seen.Responses[0].ResponseTxn.Responses[0].ResponseRange.Kvs[0].Key.ToStringUtf8());
    }

    [Fact]
    public void A_watch_sees_keys_without_the_prefix()
    {
        WatchRequest request = new() { CreateRequest = new WatchCreateRequest { Key = Key("w") } };
        Assert.Equal("a/w", WatchRequest.Parser.ParseFrom(Views["/etcdserverpb.Watch/Watch"].Request(request.ToByteArray())).CreateRequest.Key.ToStringUtf8());
        WatchResponse response = new();
        response.Events.Add(new Event { Kv = new KeyValue { Key = Key("a/w") }, PrevKv = new KeyValue { Key = Key("a/w") } });
        Event seen = WatchResponse.Parser.ParseFrom(Views["/etcdserverpb.Watch/Watch"].Response(response.ToByteArray())).Events[0];
        Assert.Equal(("w", "w"), (seen.Kv.Key.ToStringUtf8(), seen.PrevKv.Key.ToStringUtf8()));
    }

    [Fact]
    public void A_lease_shows_only_keys_of_the_namespace()
    {
        LeaseTimeToLiveResponse response = new();
        response.Keys.AddRange([Key("a/x"), Key("b/y")]);
        LeaseTimeToLiveResponse seen =
            LeaseTimeToLiveResponse.Parser.ParseFrom(Views["/etcdserverpb.Lease/LeaseTimeToLive"].Response(response.ToByteArray()));
        Assert.Equal(["x"], seen.Keys.Select(static k => k.ToStringUtf8()));
    }
}

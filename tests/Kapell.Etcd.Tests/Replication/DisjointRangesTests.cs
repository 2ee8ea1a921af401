using CsCheck;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

/// <summary>Which transactions write a key twice, held to a look at each pair of their operations.</summary>
public sealed class DisjointRangesTests
{
    private static readonly Gen<ByteString> AnyKey = Gen.String[Gen.Char['a', 'd'], 1, 2].Select(ByteString.CopyFromUtf8);
    private static readonly Gen<ByteString> AnyEnd = Gen.OneOf(Gen.Const(ByteString.Empty), Gen.Const(ByteString.CopyFrom(0)), AnyKey);

    [Fact]
    public void A_put_among_deletes_is_refused_when_one_of_them_has_its_key() => Gen.Select(
        Gen.Select(AnyKey, AnyEnd).Array[0, 12], AnyKey, Gen.Int[0, 12]).Sample(
        (deletes, put, nestedFrom) =>
        {
            // Some of the deletes lie in a transaction within, so that two sets become one.
            TxnRequest inner = new();
            TxnRequest txn = new();
            for (int i = 0; i < deletes.Length; i++)
            {
                RequestOp op = new() { RequestDeleteRange = new DeleteRangeRequest { Key = deletes[i].Item1, RangeEnd = deletes[i].Item2 } };
                (i < nestedFrom ? txn : inner).Success.Add(op);
            }

            txn.Success.Add(new RequestOp { RequestTxn = inner });
            txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = put } });
            bool refused = deletes.Any(d => d.Item2 != ByteString.CopyFrom(0) && KeyRange.Contains(d.Item1.Span, d.Item2.Span, put.Span));
            Assert.Equal(refused ? EtcdError.DuplicateKey : null, RequestChecks.Txn(txn, 128));
        });

    [Fact]
    public async Task A_hundred_thousand_of_each_are_looked_through_in_no_time()
    {
        TxnRequest txn = Nested(levels: 3, first: 0, out int count);
        Assert.True(count > 100_000);
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        Assert.Null(await Task.Run(() => RequestChecks.Txn(txn, 128), cancellation).WaitAsync(TimeSpan.FromMinutes(1), cancellation));
    }

    // Half of the innermost operations delete a key, half put another.
    private static TxnRequest Nested(int levels, int first, out int count)
    {
        TxnRequest txn = new();
        count = 0;
        foreach (Google.Protobuf.Collections.RepeatedField<RequestOp> branch in new[] { txn.Success, txn.Failure })
        {
            for (int i = 0; i < 42; i++)
            {
                if (levels > 1)
                {
                    branch.Add(new RequestOp { RequestTxn = Nested(levels - 1, first + count, out int inner) });
                    count += inner;
                    continue;
                }

                ByteString key = ByteString.CopyFromUtf8($"{first + count++:D8}");
                branch.Add(i < 21
                    ? new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = key } }
                    : new RequestOp { RequestPut = new PutRequest { Key = key } });
            }
        }

        return txn;
    }
}

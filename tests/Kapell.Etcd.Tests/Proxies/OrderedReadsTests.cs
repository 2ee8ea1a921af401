using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Proxies;
using Xunit;

namespace Kapell.Etcd.Tests.Proxies;

public sealed class OrderedReadsTests
{
    private readonly OrderedReads _reads = new(TimeProvider.System);
    private readonly List<int> _asked = [];
    private int _turn;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Of_a_member_that_is_behind_the_next_is_asked()
    {
        Assert.Equal(7, await ReadAsync(7, 5));
        Assert.Equal(7, await ReadAsync(7, 5)); // The turn is the second's.
        Assert.Equal([0, 1, 0], _asked);
        Assert.Equal(8, await ReadAsync(7, 8));
        Assert.Equal(8, await ReadAsync(7, 8));
        Assert.Equal([0, 1, 0, 1, 0, 1], _asked);
    }

    [Fact]
    public async Task One_that_catches_up_meanwhile_answers()
    {
        Assert.Equal(7, await ReadAsync(7));
        int calls = 0;
        byte[] answer = await _reads.ReadAsync(() => Task.FromResult(Answer(++calls < 3 ? 6 : 9)), 1, Cancellation);
        Assert.Equal((9, 3), (TxnResponse.Parser.ParseFrom(answer).Header.Revision, calls));
    }

    [Fact]
    public async Task When_all_are_behind_it_is_said_so()
    {
        Assert.Equal(7, await ReadAsync(7));
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(6, 5));
        Assert.Equal(
            (StatusCode.Unknown, "etcdclient: no cluster members have a revision higher than the previously received revision"), (refused.StatusCode, refused.Status.Detail));
        Assert.Equal(11, _asked.Count);
    }

    [Fact]
    public async Task What_a_member_refuses_is_refused_at_once()
    {
        await Assert.ThrowsAsync<RpcException>(() => _reads.ReadAsync(static () => throw new RpcException(new Status(StatusCode.OutOfRange, "compacted")), 3, Cancellation));
        await Assert.ThrowsAsync<RpcException>(() => _reads.ReadAsync(static () => Task.FromResult(new byte[] { 10, 200 }), 3, Cancellation));
    }

    /// <summary>The revision of the answer of members that have these.</summary>
    private async Task<long> ReadAsync(params long[] revisions)
    {
        byte[] answer = await _reads.ReadAsync(
            () =>
            {
                int member = _turn++ % revisions.Length;
                _asked.Add(member);
                return Task.FromResult(Answer(revisions[member]));
            },
            revisions.Length,
            Cancellation);
        return TxnResponse.Parser.ParseFrom(answer).Header.Revision;
    }

    // Of a range and of a transaction the header is the same field.
    private static byte[] Answer(long revision) => new TxnResponse { Header = new ResponseHeader { ClusterId = 1, Revision = revision }, Succeeded = true }.ToByteArray();
}

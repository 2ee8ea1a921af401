using System.Threading.Channels;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Xunit;

namespace Kapell.Etcd.Tests.Peers;

public sealed class ForwardedRenewalsTests
{
    private readonly Channel<Request> _requests = Channel.CreateUnbounded<Request>();
    private readonly ForwardedRenewals _renewals;
    private int _asked;

    public ForwardedRenewalsTests() => _renewals = new ForwardedRenewals(ids =>
    {
        _asked++;
        Request request = new(ids);
        Assert.True(_requests.Writer.TryWrite(request));
        return request.Answered;
    });

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_comes_while_one_request_is_under_way_goes_with_the_next()
    {
        Task<(EtcdError? Error, long Ttl)> first = RenewAsync(1);
        Request one = await NextAsync();
        Assert.Equal([1L], one.Ids);

        Task<(EtcdError? Error, long Ttl)>[] later = [.. Enumerable.Range(2, 30).Select(i => RenewAsync(i))];
        Assert.Equal(1, _asked);
        one.Answer(10);
        Assert.Equal((null, 11L), await first);

        Request two = await NextAsync();
        Assert.Equal(Enumerable.Range(2, 30).Select(static i => (long)i), two.Ids);
        two.Answer(20);
        Assert.All(await Task.WhenAll(later), static (answer, i) => Assert.Equal((null, i + 22L), answer));
        Assert.Equal(2, _asked);
    }

    [Fact]
    public async Task More_than_one_request_may_be_for_are_asked_for_in_several()
    {
        Task<(EtcdError? Error, long Ttl)>[] first = [RenewAsync(0)];
        Request one = await NextAsync();
        Task<(EtcdError? Error, long Ttl)>[] all = [.. first, .. Enumerable.Range(1, ForwardedRenewals.Most + 1).Select(i => RenewAsync(i))];
        one.Answer(0);
        int[] sizes = [ForwardedRenewals.Most, 1];
        foreach (int size in sizes)
        {
            Request next = await NextAsync();
            Assert.Equal(size, next.Ids.Length);
            next.Answer(0);
        }

        Assert.All(await Task.WhenAll(all), static (answer, i) => Assert.Equal((null, (long)i), answer));
    }

    [Fact]
    public async Task A_refusal_and_a_failure_reach_who_asked_and_nobody_later()
    {
        Task<(EtcdError? Error, long Ttl)> refused = RenewAsync(1);
        (await NextAsync()).Refuse(EtcdError.NotLeader);
        Assert.Equal((EtcdError.NotLeader, 0L), await refused);

        Task<(EtcdError? Error, long Ttl)> failed = RenewAsync(2);
        (await NextAsync()).Fail(new InvalidDataException("no"));
        await Assert.ThrowsAsync<InvalidDataException>(() => failed);

        Task<(EtcdError? Error, long Ttl)> served = RenewAsync(3);
        (await NextAsync()).Answer(2);
        Assert.Equal((null, 5L), await served);
    }

    [Fact]
    public async Task Who_leaves_holds_up_nobody()
    {
        using CancellationTokenSource leaves = new();
        Task<(EtcdError? Error, LeaseKeepAliveResponse? Reply)> left = _renewals.RenewAsync(1, leaves.Token);
        Request one = await NextAsync();
        Task<(EtcdError? Error, long Ttl)> stays = RenewAsync(2);
        await leaves.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => left);
        one.Answer(8);
        (await NextAsync()).Answer(6);
        Assert.Equal((null, 8L), await stays);
    }

    private async Task<(EtcdError? Error, long Ttl)> RenewAsync(long id)
    {
        (EtcdError? error, LeaseKeepAliveResponse? reply) = await _renewals.RenewAsync(id, Cancellation);
        return (error, reply?.TTL ?? 0);
    }

    private ValueTask<Request> NextAsync() => _requests.Reader.ReadAsync(Cancellation);

    /// <summary>What the leader is asked; it answers when the test says so.</summary>
    private sealed class Request(long[] ids)
    {
        private readonly TaskCompletionSource<(EtcdError?, LeaseKeepAliveResponse[])> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public long[] Ids => ids;

        public Task<(EtcdError? Error, LeaseKeepAliveResponse[] Replies)> Answered => _answer.Task;

        /// <summary>Each lease has its number and so many seconds more.</summary>
        public void Answer(long more) => _answer.SetResult((null, Array.ConvertAll(ids, id => new LeaseKeepAliveResponse { ID = id, TTL = id + more })));

        public void Refuse(EtcdError error) => _answer.SetResult((error, []));

        public void Fail(Exception why) => _answer.SetException(why);
    }
}

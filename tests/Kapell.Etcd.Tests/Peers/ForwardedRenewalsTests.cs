using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Xunit;

namespace Kapell.Etcd.Tests.Peers;

public sealed class ForwardedRenewalsTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_comes_while_one_request_is_under_way_goes_with_the_next()
    {
        Leader leader = new();
        ForwardedRenewals renewals = new(leader.AskAsync);
        Task<(EtcdError? Error, long Ttl)> first = renewals.RenewAsync(1, Cancellation);
        Request one = await leader.NextAsync();
        Assert.Equal([1L], one.Ids);

        Task<(EtcdError? Error, long Ttl)>[] later = [.. Enumerable.Range(2, 30).Select(i => renewals.RenewAsync(i, Cancellation))];
        Assert.Equal(1, leader.Asked);
        one.Answer((null, [11]));
        Assert.Equal((null, 11L), await first);

        Request two = await leader.NextAsync();
        Assert.Equal(Enumerable.Range(2, 30).Select(static i => (long)i), two.Ids);
        two.Answer((null, [.. two.Ids.Select(static id => id + 10)]));
        for (int i = 0; i < later.Length; i++)
        {
            Assert.Equal((null, i + 12L), await later[i]);
        }

        Assert.Equal(2, leader.Asked);
    }

    [Fact]
    public async Task More_than_one_request_may_be_for_are_asked_for_in_several()
    {
        Leader leader = new();
        ForwardedRenewals renewals = new(leader.AskAsync);
        Task<(EtcdError? Error, long Ttl)> first = renewals.RenewAsync(0, Cancellation);
        Request one = await leader.NextAsync();
        Task<(EtcdError? Error, long Ttl)>[] later = [.. Enumerable.Range(1, ForwardedRenewals.Most + 1).Select(i => renewals.RenewAsync(i, Cancellation))];
        one.Answer((null, [7]));
        int[] sizes = [ForwardedRenewals.Most, 1];
        foreach (int size in sizes)
        {
            Request next = await leader.NextAsync();
            Assert.Equal(size, next.Ids.Length);
            next.Answer((null, next.Ids));
        }

        Assert.Equal((null, 7L), await first);
        Assert.Equal((null, (long)ForwardedRenewals.Most + 1), await later[^1]);
        Assert.All(await Task.WhenAll(later), static (answer, i) => Assert.Equal((null, i + 1L), answer));
    }

    [Fact]
    public async Task A_refusal_and_a_failure_reach_who_asked_and_nobody_later()
    {
        Leader leader = new();
        ForwardedRenewals renewals = new(leader.AskAsync);
        Task<(EtcdError? Error, long Ttl)> refused = renewals.RenewAsync(1, Cancellation);
        (await leader.NextAsync()).Answer((EtcdError.NotLeader, []));
        Assert.Equal((EtcdError.NotLeader, 0L), await refused);

        Task<(EtcdError? Error, long Ttl)> failed = renewals.RenewAsync(2, Cancellation);
        (await leader.NextAsync()).Fail(new InvalidDataException("no"));
        await Assert.ThrowsAsync<InvalidDataException>(() => failed);

        Task<(EtcdError? Error, long Ttl)> served = renewals.RenewAsync(3, Cancellation);
        (await leader.NextAsync()).Answer((null, [5]));
        Assert.Equal((null, 5L), await served);
    }

    [Fact]
    public async Task Who_leaves_holds_up_nobody()
    {
        Leader leader = new();
        ForwardedRenewals renewals = new(leader.AskAsync);
        using CancellationTokenSource leaves = new();
        Task<(EtcdError? Error, long Ttl)> left = renewals.RenewAsync(1, leaves.Token);
        Request one = await leader.NextAsync();
        Task<(EtcdError? Error, long Ttl)> stays = renewals.RenewAsync(2, Cancellation);
        await leaves.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => left);
        one.Answer((null, [9]));
        Request two = await leader.NextAsync();
        two.Answer((null, [8]));
        Assert.Equal((null, 8L), await stays);
    }

    /// <summary>Is asked, and answers when the test says so.</summary>
    private sealed class Leader
    {
        private readonly System.Threading.Channels.Channel<Request> _requests = System.Threading.Channels.Channel.CreateUnbounded<Request>();

        public int Asked { get; private set; }

        public Task<(EtcdError? Error, IReadOnlyList<long> Ttls)> AskAsync(long[] ids)
        {
            Asked++;
            Request request = new(ids);
            Assert.True(_requests.Writer.TryWrite(request));
            return request.Answered;
        }

        public ValueTask<Request> NextAsync() => _requests.Reader.ReadAsync(Cancellation);
    }

    private sealed class Request(long[] ids)
    {
        private readonly TaskCompletionSource<(EtcdError?, IReadOnlyList<long>)> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public long[] Ids => ids;

        public Task<(EtcdError? Error, IReadOnlyList<long> Ttls)> Answered => _answer.Task;

        public void Answer((EtcdError?, IReadOnlyList<long>) answer) => _answer.SetResult(answer);

        public void Fail(Exception why) => _answer.SetException(why);
    }
}

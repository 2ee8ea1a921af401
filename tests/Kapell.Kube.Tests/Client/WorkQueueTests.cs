using Kapell.Client.Queues;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Kube.Tests.Client;

public sealed class WorkQueueTests
{
    private static readonly CancellationToken None = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_key_added_twice_is_given_once()
    {
        using WorkQueue<string> queue = new(new FakeTimeProvider());
        queue.Add("a");
        queue.Add("a");
        Assert.Equal((true, "a"), await queue.GetAsync(None));
        Assert.Equal(0, queue.Count);
    }

    [Fact]
    public async Task A_key_added_while_it_is_worked_on_comes_again_only_after_done()
    {
        using WorkQueue<string> queue = new(new FakeTimeProvider());
        queue.Add("a");
        await queue.GetAsync(None);
        queue.Add("a");
        Assert.Equal(0, queue.Count);
        queue.Done("a");
        Assert.Equal((true, "a"), await queue.GetAsync(None));
    }

    [Fact]
    public void The_earliest_of_several_delays_counts()
    {
        FakeTimeProvider time = new();
        using WorkQueue<string> queue = new(time);
        queue.AddAfter("a", TimeSpan.FromSeconds(10));
        queue.AddAfter("a", TimeSpan.FromSeconds(2));
        queue.AddAfter("a", TimeSpan.FromSeconds(5));
        time.Advance(TimeSpan.FromSeconds(2.1));
        Assert.Equal(1, queue.Count);
        time.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal(1, queue.Count);
    }

    [Fact]
    public void Failures_wait_twice_as_long_each_time_until_forgotten()
    {
        FakeTimeProvider time = new();
        using WorkQueue<string> queue = new(time);
        queue.AddRateLimited("a"); // 5 ms
        time.Advance(TimeSpan.FromMilliseconds(7));
        Assert.Equal(1, queue.Count);
        Assert.Equal(1, queue.Failures("a"));
        queue.AddRateLimited("b");
        queue.AddRateLimited("b"); // the first, 5 ms, counts
        Assert.Equal(2, queue.Failures("b"));
        queue.Forget("b");
        Assert.Equal(0, queue.Failures("b"));
    }

    [Fact]
    public async Task Shutting_down_ends_waiting_workers()
    {
        using WorkQueue<string> queue = new(new FakeTimeProvider());
        Task<(bool Ok, string Key)> waiting = queue.GetAsync(None).AsTask();
        queue.ShutDown();
        Assert.False((await waiting).Ok);
    }
}

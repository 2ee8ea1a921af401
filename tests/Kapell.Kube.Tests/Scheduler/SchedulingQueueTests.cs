using System.Text;
using Kapell.Machinery;
using Kapell.Scheduler.Framework;
using Kapell.Scheduler.Queue;
using Xunit;

namespace Kapell.Kube.Tests.Scheduler;

public sealed class SchedulingQueueTests
{
    private readonly SchedulingQueue _queue = new();
    private DateTimeOffset _now = DateTimeOffset.UnixEpoch;

    [Fact]
    public void The_higher_priority_comes_first_then_the_older()
    {
        _queue.AddOrUpdate(Pod("low", 0), _now);
        _queue.AddOrUpdate(Pod("high", 10), _now);
        _queue.AddOrUpdate(Pod("low2", 0), _now);
        Assert.Equal(["high", "low", "low2"], new[] { Pop(), Pop(), Pop() });
        Assert.Null(Pop());
    }

    [Fact]
    public void A_refused_pod_waits_for_a_change_and_its_backoff()
    {
        _queue.AddOrUpdate(Pod("p", 0), _now);
        Pop();
        _queue.PutBack("p", retry: false, _now);
        _now += TimeSpan.FromSeconds(30);
        Assert.Null(Pop());
        _queue.MoveAll(_now);
        Assert.Equal("p", Pop());
        _queue.PutBack("p", retry: false, _now);
        _queue.MoveAll(_now);
        Assert.Null(Pop());
        Assert.Equal(_now + TimeSpan.FromSeconds(2), _queue.NextDue());
        _now += TimeSpan.FromSeconds(2);
        Assert.Equal("p", Pop());
    }

    [Fact]
    public void A_change_while_the_pod_was_being_judged_is_not_missed()
    {
        _queue.AddOrUpdate(Pod("p", 0), _now);
        Pop();
        _queue.MoveAll(_now);
        _queue.PutBack("p", retry: false, _now);
        _now += TimeSpan.FromSeconds(1);
        Assert.Equal("p", Pop());
    }

    [Fact]
    public void Without_any_change_a_refused_pod_is_tried_again_after_five_minutes()
    {
        _queue.AddOrUpdate(Pod("p", 0), _now);
        Pop();
        _queue.PutBack("p", retry: false, _now);
        _now += TimeSpan.FromMinutes(5);
        Assert.Equal("p", Pop());
    }

    [Fact]
    public void A_removed_pod_never_comes()
    {
        _queue.AddOrUpdate(Pod("p", 0), _now);
        _queue.Remove("p");
        Assert.Null(Pop());
        Assert.Equal(0, _queue.Count);
    }

    private static PodInfo Pod(string uid, int priority) =>
        new(new KubeObject(Encoding.UTF8.GetBytes($$$"""{"metadata":{"name":"{{{uid}}}","uid":"{{{uid}}}"},"spec":{"priority":{{{priority}}}}}""")));

    private string? Pop() => _queue.Pop(_now)?.Uid;
}

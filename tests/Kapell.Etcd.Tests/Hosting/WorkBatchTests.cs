using Kapell.Etcd.Server.Hosting;
using Xunit;

namespace Kapell.Etcd.Tests.Hosting;

public sealed class WorkBatchTests
{
    [Fact]
    public void Turns_come_before_flushes_and_each_once_however_often_it_was_asked_for()
    {
        List<string> done = [];
        Work turn = new(() => done.Add("turn"));
        Work flush = new(() => done.Add("flush"));
        Assert.True(WorkBatch.TryBegin());
        Assert.True(WorkBatch.TakesFlush(flush));
        Assert.True(WorkBatch.TakesTurn(turn));
        Assert.True(WorkBatch.TakesTurn(turn));
        Assert.Empty(done);
        WorkBatch.End();
        Assert.Equal(["turn", "flush"], done);
    }

    [Fact]
    public void What_the_work_itself_asks_for_is_done_before_the_end()
    {
        List<string> done = [];
        Work flush = new(() => done.Add("flush"));
        Work second = new(() => done.Add("second turn"));
        Work first = new(() =>
        {
            done.Add("first turn");
            WorkBatch.TakesFlush(flush);
            WorkBatch.TakesTurn(second);
        });
        Assert.True(WorkBatch.TryBegin());
        WorkBatch.TakesTurn(first);
        WorkBatch.End();
        Assert.Equal(["first turn", "second turn", "flush"], done);
    }

    [Fact]
    public void Who_finds_a_batch_open_leaves_its_end_to_the_one_who_opened_it()
    {
        Assert.True(WorkBatch.TryBegin());
        Assert.False(WorkBatch.TryBegin());
        WorkBatch.End();
        Assert.True(WorkBatch.TryBegin());
        WorkBatch.End();
    }

    [Fact]
    public void Without_a_batch_nothing_is_taken()
    {
        Work work = new(static () => Assert.Fail("nobody may run this"));
        Assert.False(WorkBatch.TakesTurn(work));
        Assert.False(WorkBatch.TakesFlush(work));
    }

    private sealed class Work(Action run) : IDeferred
    {
        public void Run() => run();
    }
}

using Xunit;

namespace Kapell.Sim.Scenarios;

public sealed class RandomTests(ITestOutputHelper output)
{
    private static readonly TimeSpan FreshSeedsBudget = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(12)]
    public void A_seed_gives_the_same_run_every_time(ulong seed)
    {
        RunReport first = RandomRun.Of(seed);
        output.WriteLine(first.ToString());
        Assert.Equal(first, RandomRun.Of(seed));
    }

    /// <summary>Runs that found bugs (docs/BUGS.md). The story of a seed changes with the simulator; each bug has a scenario or a test besides.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(20)]
    [InlineData(25)]
    [InlineData(73)]
    [InlineData(109)]
    [InlineData(171)]
    [InlineData(219)]
    [InlineData(337)]
    [InlineData(3322)]
    [InlineData(50255)]
    [InlineData(1795862453474033)]
    [InlineData(1795913052470233)]
    public void A_seed_that_failed_once_holds(ulong seed) => output.WriteLine(RandomRun.Of(seed).ToString());

    [Fact]
    public void Fresh_seeds_hold()
    {
        long begun = TimeProvider.System.GetTimestamp();
        ulong seed = (ulong)TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
        int runs = 0;
        for (; TimeProvider.System.GetElapsedTime(begun) < FreshSeedsBudget; runs++, seed++)
        {
            RandomRun.Of(seed);
        }

        output.WriteLine($"{runs} runs, the last of seed {seed - 1}");
        Assert.True(runs > 0);
    }
}

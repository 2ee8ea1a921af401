using Xunit;

namespace Kapell.Sim.Scenarios;

public sealed class RandomTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_seed_gives_the_same_run_every_time(ulong seed) => Assert.Equal(RandomRun.Of(seed).Unseed, RandomRun.Of(seed).Unseed);
}

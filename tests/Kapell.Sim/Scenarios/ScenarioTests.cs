using Kapell.Sim.World;
using Xunit;

namespace Kapell.Sim.Scenarios;

public sealed class ScenarioTests
{
    private const int Seeds = 3;

    public static TheoryData<string> Names => [.. All.Select(static s => s.Name)];

    private static IEnumerable<Scenario> All => [.. KnownBugs.All, .. OwnBugs.All];

    [Theory]
    [MemberData(nameof(Names))]
    public void It_holds(string name)
    {
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            Find(name).Run(seed, damaged: false);
        }
    }

    /// <summary>A check that cannot fail proves nothing.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void It_is_seen_when_it_does_not(string name)
    {
        Scenario scenario = Find(name);
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            SimulationFailedException failure = Assert.Throws<SimulationFailedException>(() => scenario.Run(seed, damaged: true));
            Assert.Contains(scenario.Sign, failure.What, StringComparison.Ordinal);
        }
    }

    private static Scenario Find(string name) => All.Single(s => s.Name == name);
}

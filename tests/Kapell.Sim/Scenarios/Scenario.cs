using Kapell.Sim.World;

namespace Kapell.Sim.Scenarios;

/// <summary>A story that a correct cluster survives, and the damage under which the checkers must object.</summary>
/// <param name="Bug">The known bug whose return it would show: an issue of etcd, or one of ours in docs/BUGS.md.</param>
/// <param name="Sign">Words of the failure that the damage must bring about.</param>
internal sealed record Scenario(string Name, string Bug, SimOptions Options, Action<Simulation> Play, Breakage Damage, string Sign)
{
    public void Run(ulong seed, bool damaged)
    {
        using Simulation sim = new(seed, damaged ? Options with { Breakage = Damage } : Options);
        sim.Elect();
        Play(sim);
    }
}

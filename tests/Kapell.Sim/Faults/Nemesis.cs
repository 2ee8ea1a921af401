using Kapell.Base;
using Kapell.Sim.World;

namespace Kapell.Sim.Faults;

/// <summary>
/// Draws faults. Each seed has its own mix: a run without crashes finds what a run full of them never comes to. What it never does is
/// what no cluster survives: destroying the disks of a majority.
/// </summary>
internal sealed class Nemesis(Simulation sim, Prng prng)
{
    private readonly bool _crashes = prng.Chance(0.7);
    private readonly bool _pauses = prng.Chance(0.5);
    private readonly bool _cuts = prng.Chance(0.6);
    private readonly bool _transfers = prng.Chance(0.4);
    private readonly bool _fullDisks = prng.Chance(0.2);
    private readonly bool _slowDisks = prng.Chance(0.3);
    private readonly int _restMilliseconds = prng.NextInt(50, 2000);
    private readonly MembershipTask? _membership = prng.Chance(0.5) ? new MembershipTask(sim, prng.Split()) : null;
    private bool _ended;

    /// <summary>No change of the membership is half done.</summary>
    public bool IsDone => _membership?.IsIdle ?? true;

    public void Begin()
    {
        if (prng.Chance(0.6))
        {
            sim.Network.DropChance = prng.NextDouble() * 0.2;
        }

        if (prng.Chance(0.4))
        {
            sim.Network.DuplicateChance = prng.NextDouble() * 0.2;
        }

        if (prng.Chance(0.4))
        {
            sim.Network.LateChance = prng.NextDouble() * 0.05;
        }

        sim.Network.DelayMicrosecondsMax = prng.NextInt(1000, 60_000);
        _membership?.Begin();
        Rest();
    }

    public void End()
    {
        _ended = true;
        _membership?.End();
    }

    private void Rest() => sim.Agenda.In(prng.NextInt(1, _restMilliseconds) * 1000L, () =>
    {
        if (!_ended)
        {
            Strike();
            Rest();
        }
    });

    private void Strike()
    {
        SimMember[] members = [.. sim.Members.Where(static m => m.MayRun)];
        SimMember member = members[prng.NextInt(0, members.Length)];
        int number = member.Number;
        switch (prng.NextInt(0, 10))
        {
            case 0 or 1 when _crashes && member.Runs:
                Crash(number);
                break;
            case 2 when _pauses && member.Runs:
                sim.Pause(number);
                sim.Agenda.In(prng.NextInt(10, 4000) * 1000L, () => sim.Resume(number));
                break;
            case 3 when _cuts:
                Cut(number, members);
                break;
            case 4 or 5:
                sim.Heal();
                break;
            case 6 when _transfers:
                sim.TransferTo(number);
                break;
            case 7:
                sim.Checkpoint(number);
                break;
            case 8 when _slowDisks:
                sim.DiskSlowness = prng.Chance(0.5) ? 1 : prng.NextInt(2, 60);
                break;
            case 9 when _fullDisks:
                member.Disk.CapacityBytes = member.Disk.Paths.Sum(p => (long)member.Disk.Content(p).Length) + prng.NextInt(0, 20_000);
                sim.Agenda.In(prng.NextInt(100, 5000) * 1000L, () => FreeDisk(member));
                break;
            default:
                members.Where(static m => !m.Runs).ToList().ForEach(m => sim.Start(m.Number));
                break;
        }
    }

    private void FreeDisk(SimMember member)
    {
        member.Disk.CapacityBytes = long.MaxValue;
        sim.Start(member.Number);
    }

    private void Crash(int number)
    {
        CrashFault crash = sim.Crash(number);
        switch (prng.NextInt(0, 3))
        {
            case 0:
                crash.DropUnsynced();
                break;
            case 1:
                crash.KeepUnsynced();
                break;
            default:
                crash.Tear();
                break;
        }

        if (prng.Chance(0.8))
        {
            sim.Agenda.In(prng.NextInt(1, 3000) * 1000L, () => sim.Start(number));
        }
    }

    private void Cut(int number, SimMember[] members)
    {
        switch (prng.NextInt(0, 3))
        {
            case 0:
                sim.Isolate(number);
                break;
            case 1:
                sim.Cut(number, to: members[prng.NextInt(0, members.Length)].Number);
                break;
            default:
                HashSet<int> side = [.. members.Where(_ => prng.Chance(0.5)).Select(static m => m.Number)];
                foreach (SimMember one in members.Where(m => side.Contains(m.Number)))
                {
                    members.Where(m => !side.Contains(m.Number)).ToList().ForEach(m => sim.CutBoth(one.Number, m.Number));
                }

                break;
        }
    }
}

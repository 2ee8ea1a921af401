using Kapell.Base;

namespace Kapell.Sim.World;

/// <summary>What carries encoded messages between members: late, twice, in another order, or never.</summary>
internal sealed class SimNetwork(Agenda agenda, Prng prng)
{
    private readonly HashSet<(int From, int To)> _cut = [];

    public double DropChance { get; set; }

    public double DuplicateChance { get; set; }

    public int DelayMicrosecondsMin { get; set; } = 200;

    public int DelayMicrosecondsMax { get; set; } = 2000;

    /// <summary>Now and then a message is this late.</summary>
    public double LateChance { get; set; }

    public int LateMicrosecondsMax { get; set; } = 3_000_000;

    public long Carried { get; private set; }

    public long Lost { get; private set; }

    public bool IsCut(int from, int to) => _cut.Contains((from, to));

    public void Cut(int from, int to) => _cut.Add((from, to));

    public void Heal() => _cut.Clear();

    public void BeFaultless()
    {
        (DropChance, DuplicateChance, LateChance) = (0, 0, 0);
        (DelayMicrosecondsMin, DelayMicrosecondsMax) = (200, 2000);
        Heal();
    }

    public long Delay() => prng.Chance(LateChance)
        ? prng.NextInt(DelayMicrosecondsMax, LateMicrosecondsMax)
        : prng.NextInt(DelayMicrosecondsMin, DelayMicrosecondsMax);

    public bool Loses(int from, int to) => IsCut(from, to) || prng.Chance(DropChance);

    /// <param name="once">A stream between two processes never repeats what it carries; Raft must bear it for all but forwarded proposals,
    /// which would be carried out twice.</param>
    /// <param name="lost">Told at once, as by a connection that breaks.</param>
    public void Carry(int from, int to, bool once, Action deliver, Action lost)
    {
        if (Loses(from, to))
        {
            Lost++;
            lost();
            return;
        }

        Carried++;
        agenda.In(Delay(), () =>
        {
            // A cut also takes what is on its way.
            if (!IsCut(from, to))
            {
                deliver();
            }
        });
        if (!once && prng.Chance(DuplicateChance))
        {
            agenda.In(Delay(), deliver);
        }
    }
}

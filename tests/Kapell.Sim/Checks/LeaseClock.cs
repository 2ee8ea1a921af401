using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Sim.World;

namespace Kapell.Sim.Checks;

/// <summary>
/// A lease lives at least its time after it was granted or renewed by the leader of the newest term, by the simulation's clock; less what
/// the leader's own may run fast. That it ends at all is looked at when the run does.
/// </summary>
internal sealed class LeaseClock(Simulation sim)
{
    private readonly Dictionary<long, (long AliveUntil, bool Wanted)> _leases = [];

    public int Expired { get; private set; }

    /// <summary>The client asked for it at this time, in microseconds; it cannot have begun earlier.</summary>
    public void Asked(long id, long ttlSeconds, long asked) => _leases[id] = (asked + (ttlSeconds * 1_000_000), false);

    public void Renewed(long id, long ttlSeconds)
    {
        if (_leases.TryGetValue(id, out (long AliveUntil, bool Wanted) lease))
        {
            _leases[id] = (Math.Max(lease.AliveUntil, sim.Agenda.Now + (ttlSeconds * 1_000_000)), lease.Wanted);
        }
    }

    /// <summary>A client asked for its end.</summary>
    public void Revoked(long id) => _leases[id] = (0, true);

    public void Applied(Command command)
    {
        if (command.Request is not LeaseRevokeRequest revoke || command.Id != 0 || !_leases.TryGetValue(revoke.ID, out (long AliveUntil, bool Wanted) lease))
        {
            return;
        }

        Expired++;
        if (sim.Agenda.Now < lease.AliveUntil - (lease.AliveUntil / 1_000_000 * sim.Options.ClockDriftMillionths))
        {
            throw sim.Fail($"lease {revoke.ID} ended {(lease.AliveUntil - sim.Agenda.Now) / 1000} ms before its time");
        }
    }
}

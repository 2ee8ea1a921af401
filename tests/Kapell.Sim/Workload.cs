using Kapell.Base;
using Kapell.Sim.Checks;
using Kapell.Sim.World;

namespace Kapell.Sim;

/// <summary>Clients that ask one thing after another, each of some member.</summary>
internal sealed class Workload(Simulation sim, Prng prng)
{
    private readonly int _clients = prng.NextInt(1, 8);
    private readonly int _keys = prng.NextInt(1, 12);
    private readonly int _pauseMicroseconds = prng.NextInt(1000, 60_000);
    private readonly List<long> _leases = [];
    private readonly Dictionary<string, string?> _seen = [];
    private int _value;
    private bool _ended;
    private readonly List<SimWatch> _watches = [];

    /// <summary>The leases have come to their end, and the watches have told it all.</summary>
    public bool IsDone => sim.Leader?.Store.Leases.Count == 0 && _watches.TrueForAll(static w => w.IsUpToDate);

    public int WatchEvents => _watches.Sum(static w => w.Events);

    public void Begin()
    {
        for (int i = 0; i < _clients; i++)
        {
            sim.Agenda.In(prng.NextInt(0, 100_000), () => Next(null));
        }

        BeginWatches();
    }

    public void End() => _ended = true;

    private void BeginWatches()
    {
        for (int i = prng.NextInt(0, 5); i > 0; i--)
        {
            string key = prng.Chance(0.5) ? "k" : prng.Chance(0.3) ? "lease" : $"k{prng.NextInt(0, _keys)}";
            SimWatch watch = new(sim, prng.Split(), key, single: key.Length == 2 && prng.Chance(0.7), prng.NextInt(0, 6), prng.Chance(0.3) ? prng.NextInt(1, 3_000_000) : 2000);
            _watches.Add(watch);
            sim.Agenda.In(prng.NextInt(0, 8_000_000), () => watch.Connect());
        }
    }

    private void Next(Operation? waiting)
    {
        if (waiting is { State: OperationState.Pending })
        {
            // A client gives up before the server does, now and then; then it asks someone else.
            if (_ended || !prng.Chance(0.001))
            {
                sim.Agenda.In(_pauseMicroseconds, () => Next(waiting));
                return;
            }
        }

        if (waiting is { Kind: OperationKind.Get, State: OperationState.Done })
        {
            _seen[waiting.Key] = waiting.Found;
        }

        if (!_ended)
        {
            Operation operation = Ask();
            sim.Agenda.In(prng.NextInt(_pauseMicroseconds / 2, _pauseMicroseconds * 2), () => Next(operation));
        }
    }

    private Operation Ask()
    {
        SimMember[] members = [.. sim.Members.Where(static m => m.Runs)];
        int member = members.Length == 0 ? 1 : members[prng.NextInt(0, members.Length)].Number;
        string key = $"k{prng.NextInt(0, _keys)}";
        string value = $"v{++_value}" + new string('x', prng.Chance(0.1) ? prng.NextInt(0, 2000) : 0);
        switch (prng.NextInt(0, 100))
        {
            case < 35:
                return sim.Clients.Put(member, key, value);
            case < 60:
                return sim.Clients.Get(member, key);
            case < 68:
                return sim.Clients.Delete(member, key);
            case < 84:
                return sim.Clients.Replace(member, key, _seen.GetValueOrDefault(key), value);
            case < 90:
                return sim.Clients.PutTwo(member, key, $"k{_keys + 1}", value);
            case < 93:
                long revision = sim.Members.Where(static m => m.Runs).Select(static m => m.Process!.Store.Revision).DefaultIfEmpty(1).Max();
                return sim.Clients.Compact(member, Math.Max(1, revision - prng.NextInt(0, 30)), prng.Chance(0.3));
            default:
                return AskLease(member, value);
        }
    }

    private Operation AskLease(int member, string value)
    {
        if (_leases.Count == 0 || prng.Chance(0.3))
        {
            _leases.Add(1000 + _leases.Count);
            return sim.Clients.Grant(member, _leases[^1], prng.NextInt(2, 8));
        }

        long lease = _leases[prng.NextInt(0, _leases.Count)];
        sim.Clients.KeepAlive(lease);
        return prng.Chance(0.1) ? sim.Clients.Revoke(member, lease) : sim.Clients.PutWithLease(member, $"lease{lease % 5}", value, lease);
    }
}

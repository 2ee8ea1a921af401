using Kapell.Base;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>One address behind a gateway. Lower priorities come first; weights share one priority. RFC 2782</summary>
internal sealed class Remote(string host, int port, int priority = 0, int weight = 0)
{
    public string Host => host;

    public int Port => port;

    public int Priority => priority;

    public int Weight => weight;

    /// <summary>False after a connection failed, until one succeeds.</summary>
    public bool Active { get; set; } = true;

    public override string ToString() => host.Contains(':', StringComparison.Ordinal) ? $"[{host}]:{port}" : $"{host}:{port}";
}

/// <summary>Chooses one of the addresses for each connection. etcd: server/proxy/tcpproxy/userspace.go pick</summary>
internal sealed class RemoteSet(IReadOnlyList<Remote> all, Prng prng)
{
    private readonly Lock _gate = new();
    private int _turn;

    public IReadOnlyList<Remote> All => all;

    /// <summary>Null when none is active.</summary>
    public Remote? Pick()
    {
        lock (_gate)
        {
            Remote[] active = [.. all.Where(static r => r.Active)];
            if (active.Length == 0)
            {
                return null;
            }

            int best = active.Min(static r => r.Priority);
            Remote[] class_ = [.. active.Where(r => r.Priority == best)];
            Remote[] weighted = [.. class_.Where(static r => r.Weight > 0)];
            Remote[] plain = [.. class_.Where(static r => r.Weight == 0)];

            // Beside weighted ones, one without a weight has a small chance.
            bool usePlain = weighted.Length == 0 || (plain.Length > 0 && prng.NextInt(0, 100) == 0);
            return usePlain ? plain[(int)((uint)_turn++ % (uint)plain.Length)] : ByWeight(weighted);
        }
    }

    private Remote ByWeight(Remote[] weighted)
    {
        int choice = prng.NextInt(0, weighted.Sum(static r => r.Weight));
        foreach (Remote remote in weighted)
        {
            choice -= remote.Weight;
            if (choice < 0)
            {
                return remote;
            }
        }

        return weighted[^1];
    }
}

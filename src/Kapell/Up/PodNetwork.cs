using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace Kapell.Cli.Up;

/// <summary>
/// The range of addresses for a cluster's pods. Two clusters of one machine must not share one: both bridges would claim the same
/// route and the pods of one of them could not be reached. What was chosen is kept in the data folder.
/// </summary>
internal static class PodNetwork
{
    private const int First = 244;
    private const int Last = 254;

    /// <param name="wanted">What --cluster-cidr says; empty leaves the choice to us.</param>
    /// <exception cref="UpException">The range is in use on this machine.</exception>
    public static string Choose(ClusterLayout layout, string wanted)
    {
        string file = Path.Combine(layout.Conf, "cluster-cidr");
        string kept = File.Exists(file) ? File.ReadAllText(file).Trim() : Directory.Exists(layout.Etcd) ? Default(First) : "";
        string chosen = wanted.Length > 0 ? wanted : kept;
        (string Name, IPAddress Address, int Prefix)[] others = [.. Addresses().Where(a => a.Name != layout.Bridge)];
        if (chosen.Length == 0)
        {
            // A bridge of ours may be left from a data folder that was deleted: it cannot take another address.
            IEnumerable<string> all = Enumerable.Range(First, Last - First + 1).Select(Default).Where(c => !others.Any(o => Overlap(c, o)));
            chosen = all.OrderByDescending(c => Addresses().Any(a => a.Name == layout.Bridge && Overlap(c, a))).FirstOrDefault()
                ?? throw new UpException($"all ranges from {Default(First)} to {Default(Last)} are in use on this machine", "choose another with --cluster-cidr");
        }
        else if (others.FirstOrDefault(o => Overlap(chosen, o)) is { Name: not null } other)
        {
            throw new UpException($"the pods' range {chosen} is in use on this machine: {other.Name} has {other.Address}/{other.Prefix}",
                other.Name.StartsWith("kap", StringComparison.Ordinal)
                    ? "stop that cluster with kapell down, or choose another range with --cluster-cidr for a new cluster"
                    : "choose another with --cluster-cidr");
        }

        Directory.CreateDirectory(layout.Conf);
        File.WriteAllText(file, chosen + "\n");
        return chosen;
    }

    private static string Default(int second) => $"10.{second}.0.0/16";

    private static IEnumerable<(string Name, IPAddress Address, int Prefix)> Addresses() =>
        NetworkInterface.GetAllNetworkInterfaces().SelectMany(n => n.GetIPProperties().UnicastAddresses
            .Where(a => a.Address.AddressFamily == AddressFamily.InterNetwork).Select(a => (n.Name, a.Address, a.PrefixLength)));

    private static bool Overlap(string cidr, (string Name, IPAddress Address, int Prefix) other) =>
        IPNetwork.TryParse(cidr, out IPNetwork range)
        && (range.Contains(other.Address) || (other.Prefix < range.PrefixLength && other.Prefix > 0 && SameStart(range.BaseAddress, other.Address, other.Prefix)));

    private static bool SameStart(IPAddress a, IPAddress b, int bits) =>
        (Number(a) ^ Number(b)) >> (32 - bits) == 0;

    private static uint Number(IPAddress address) => System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());
}

using System.Globalization;
using System.Text;
using Kapell.Base;

namespace Kapell.Faults.World;

/// <summary>
/// A bridge with one network namespace a member, in the namespace of this process, which is nobody else's. Cuts and losses are rules of
/// nftables between the ports of the bridge, so clients, which sit on the bridge itself, reach every member always.
/// </summary>
internal sealed class Network : IDisposable
{
    private readonly HashSet<(int From, int To)> _cuts = [];
    private readonly Dictionary<int, int> _loss = [];
    private readonly Dictionary<int, DelayRelay> _delays = [];
    private readonly int _members;
    private readonly Lock _lock = new();

    public Network(int members)
    {
        _members = members;

        // The names of namespaces are files: not to be seen outside.
        Directory.CreateDirectory("/run/netns");
        Shell.Run("mount -t tmpfs none /run/netns");
        Shell.Run("ip link set lo up");
        Shell.Run("ip link add br0 type bridge");
        Shell.Run("ip addr add 10.9.0.254/24 dev br0");
        Shell.Run("ip link set br0 up");
        for (int i = 0; i < members; i++)
        {
            Shell.Run($"ip netns add kf{i}");
            Shell.Run($"ip link add v{i} type veth peer name eth0 netns kf{i}");
            Shell.Run($"ip link set v{i} master br0 up");
            Shell.Run($"ip -n kf{i} addr add {AddressOf(i)}/24 dev eth0");
            Shell.Run($"ip -n kf{i} link set eth0 up");
            Shell.Run($"ip -n kf{i} link set lo up");
        }

        Write();
    }

    public static string AddressOf(int member) => string.Create(CultureInfo.InvariantCulture, $"10.9.0.{member + 1}");

    /// <summary>Nothing that the one sends reaches the other.</summary>
    public void CutOneWay(int from, int to)
    {
        lock (_lock)
        {
            _cuts.Add((from, to));
            Write();
        }
    }

    /// <summary>No frame passes between the two groups.</summary>
    public void Cut(IReadOnlyCollection<int> some, IReadOnlyCollection<int> others)
    {
        lock (_lock)
        {
            foreach ((int a, int b) in some.SelectMany(a => others.Select(b => (a, b))))
            {
                _cuts.Add((a, b));
                _cuts.Add((b, a));
            }

            Write();
        }
    }

    public void Join()
    {
        lock (_lock)
        {
            _cuts.Clear();
            Write();
        }
    }

    /// <summary>Of what other members send to and get from it.</summary>
    public void Lose(int member, int percent)
    {
        lock (_lock)
        {
            _loss[member] = percent;
            Write();
        }
    }

    public void Delay(int member, TimeSpan delay, Prng prng)
    {
        lock (_lock)
        {
            if (_delays.ContainsKey(member))
            {
                return;
            }

            Shell.Run($"ip link set v{member} nomaster promisc on");
            _delays[member] = new DelayRelay($"t{member}", Native.InterfaceIndex($"v{member}"), delay, prng);
            Shell.Run($"ip link set t{member} master br0 up");
            Write();
        }
    }

    public void Hurry(int member)
    {
        lock (_lock)
        {
            if (_delays.Remove(member, out DelayRelay? relay))
            {
                relay.Dispose();
                Shell.Run($"ip link set v{member} master br0 promisc off");
                Write();
            }

            _loss.Remove(member);
            Write();
        }
    }

    public void Heal()
    {
        Join();
        for (int i = 0; i < _members; i++)
        {
            Hurry(i);
        }
    }

    public void Dispose()
    {
        foreach (DelayRelay relay in _delays.Values)
        {
            relay.Dispose();
        }
    }

    private string PortOf(int member) => _delays.ContainsKey(member) ? $"t{member}" : $"v{member}";

    // All rules at once, so that no half of a change is ever in force.
    private void Write()
    {
        StringBuilder rules = new("table bridge faults {}\ndelete table bridge faults\ntable bridge faults {\n  chain between {\n    type filter hook forward priority 0;\n");
        foreach ((int from, int to) in _cuts)
        {
            rules.Append(CultureInfo.InvariantCulture, $"    iifname \"{PortOf(from)}\" oifname \"{PortOf(to)}\" drop\n");
        }

        foreach ((int member, int percent) in _loss)
        {
            rules.Append(CultureInfo.InvariantCulture, $"    iifname \"{PortOf(member)}\" numgen random mod 100 < {percent} drop\n");
            rules.Append(CultureInfo.InvariantCulture, $"    oifname \"{PortOf(member)}\" numgen random mod 100 < {percent} drop\n");
        }

        Shell.Run("nft -f -", rules.Append("  }\n}\n").ToString());
    }
}

using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace Kapell.Cli.Node;

/// <summary>What this machine is like.</summary>
internal static class HostFacts
{
    /// <summary>CAP_SYS_RESOURCE (bit 24) is needed for a negative oom_score_adj; some machines withhold it even from root.</summary>
    public static bool MayLowerOomScore()
    {
        string? line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        return line is not null && (Convert.ToUInt64(line["CapEff:".Length..].Trim(), 16) >> 24 & 1) == 1;
    }

    /// <summary>The first IPv4 address of an interface that is up and no bridge of containers; the fallback when there is none.</summary>
    public static string NodeAddress(string fallback)
    {
        foreach (NetworkInterface card in NetworkInterface.GetAllNetworkInterfaces().Where(n =>
            n.OperationalStatus == OperationalStatus.Up && n.NetworkInterfaceType != NetworkInterfaceType.Loopback
            && !n.Name.StartsWith("kap", StringComparison.Ordinal) && !n.Name.StartsWith("veth", StringComparison.Ordinal)
            && !n.Name.StartsWith("cni", StringComparison.Ordinal) && !n.Name.StartsWith("docker", StringComparison.Ordinal)
            && !n.Name.StartsWith("br-", StringComparison.Ordinal)))
        {
            IPAddress? address = card.GetIPProperties().UnicastAddresses.Select(u => u.Address)
                .FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork && !IPAddress.IsLoopback(a) && !a.ToString().StartsWith("169.254.", StringComparison.Ordinal));
            if (address is not null)
            {
                return address.ToString();
            }
        }

        return fallback;
    }

    /// <summary>Resident memory of a process in bytes, 0 when it is gone.</summary>
    public static long ResidentBytes(int pid)
    {
        try
        {
            string? line = File.ReadLines($"/proc/{pid}/status").FirstOrDefault(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
            return line is null ? 0 : long.Parse(line["VmRSS:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim()) * 1024;
        }
        catch (IOException)
        {
            return 0;
        }
    }

    /// <summary>Who listens on a TCP port, as "process 123 (nginx)"; empty when it cannot be seen.</summary>
    public static string HolderOf(int port)
    {
        string wanted = $":{port:X4}";
        HashSet<string> inodes = [];
        foreach (string table in new[] { "/proc/net/tcp", "/proc/net/tcp6" }.Where(File.Exists))
        {
            foreach (string line in File.ReadLines(table).Skip(1))
            {
                string[] cells = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (cells.Length > 9 && cells[1].EndsWith(wanted, StringComparison.Ordinal) && cells[3] == "0A")
                {
                    inodes.Add("socket:[" + cells[9] + "]");
                }
            }
        }

        foreach (string process in Directory.GetDirectories("/proc").Where(d => int.TryParse(Path.GetFileName(d), out _)))
        {
            try
            {
                if (Directory.GetFiles(process + "/fd").Any(f => File.ResolveLinkTarget(f, false) is { } t && inodes.Contains(t.Name)))
                {
                    return $"process {Path.GetFileName(process)} ({File.ReadAllText(process + "/comm").Trim()})";
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Gone meanwhile, or not ours to see.
            }
        }

        return "";
    }
}

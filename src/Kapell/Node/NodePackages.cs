using Kapell.Cli.Up;

namespace Kapell.Cli.Node;

/// <summary>The programs that a node needs and does not bring itself: where they lie.</summary>
internal sealed record NodePrograms(string Containerd, string Runtime, string CniFolder);

/// <summary>Finds them, or installs them from Debian's packages when root.</summary>
internal static class NodePackages
{
    private static readonly string[] CniFolders = ["/usr/lib/cni", "/opt/cni/bin"];
    private static readonly string[] CniPlugins = ["bridge", "host-local", "loopback", "portmap"];

    /// <exception cref="UpException">Something is missing and cannot be installed from here; says what to run.</exception>
    public static async Task<(NodePrograms Programs, bool Installed)> EnsureAsync(bool mayInstall, TextWriter output, CancellationToken stopping)
    {
        List<string> missing = Missing();
        if (missing.Count == 0)
        {
            return (Locate(), false);
        }

        string command = "apt-get install -y --no-install-recommends " + string.Join(' ', missing);
        if (!mayInstall || !Environment.IsPrivilegedProcess || HostProcess.Find("apt-get") is null)
        {
            throw new UpException("this machine lacks: " + string.Join(", ", missing), "run, as root: apt-get update && " + command);
        }

        output.WriteLine("  installing " + string.Join(' ', missing));
        Dictionary<string, string> quiet = new() { ["DEBIAN_FRONTEND"] = "noninteractive" };
        string hint = "run it by hand and see: " + command;
        await HostProcess.MustRunAsync("apt-get", ["update", "-q"], hint, stopping, environment: quiet);
        await HostProcess.MustRunAsync("apt-get", ["install", "-y", "-q", "--no-install-recommends", .. missing], hint, stopping, environment: quiet);
        List<string> still = Missing();
        return still.Count == 0
            ? (Locate(), true)
            : throw new UpException("after installing, this machine still lacks: " + string.Join(", ", still), hint);
    }

    private static List<string> Missing()
    {
        List<string> missing = [];
        AddIf(HostProcess.Find("containerd") is null, "containerd");
        AddIf(HostProcess.Find("runc") is null && HostProcess.Find("crun") is null, "runc");
        AddIf(CniFolder() is null, "containernetworking-plugins");
        AddIf(HostProcess.Find("iptables") is null, "iptables");
        AddIf(HostProcess.Find("mount") is null, "mount");
        return missing;

        void AddIf(bool absent, string package)
        {
            if (absent)
            {
                missing.Add(package);
            }
        }
    }

    private static NodePrograms Locate() =>
        new(HostProcess.Find("containerd")!, (HostProcess.Find("runc") ?? HostProcess.Find("crun"))!, CniFolder()!);

    private static string? CniFolder() => CniFolders.FirstOrDefault(f => CniPlugins.All(p => File.Exists(Path.Combine(f, p))));
}

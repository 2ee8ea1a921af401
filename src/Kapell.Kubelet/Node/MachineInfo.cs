using System.Globalization;
using System.Runtime.InteropServices;

namespace Kapell.Kubelet.Node;

/// <summary>What the machine has, read once at start.</summary>
internal sealed record MachineInfo
{
    private const int SysResourceBit = 24;

    public required decimal MemoryBytes { get; init; }

    public required decimal Cpus { get; init; }

    public required decimal StorageBytes { get; init; }

    /// <summary>The lowest oom_score_adj that a child of this process may have: without CAP_SYS_RESOURCE it cannot go below our own.</summary>
    public required long OomScoreMin { get; init; }

    public string MachineId { get; init; } = "";

    public string BootId { get; init; } = "";

    public string KernelVersion { get; init; } = "";

    public string OsImage { get; init; } = "";

    public string Architecture { get; init; } = "amd64";

    public static MachineInfo Read(string rootDir)
    {
        Dictionary<string, string> os = Lines("/etc/os-release").Select(l => l.Split('=', 2)).Where(p => p.Length == 2)
            .GroupBy(p => p[0], StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.First()[1].Trim('"'), StringComparer.Ordinal);
        return new MachineInfo
        {
            MemoryBytes = Memory(), Cpus = CpuLimit(), StorageBytes = new DriveInfo(rootDir).TotalSize, OomScoreMin = LowestScore(),
            MachineId = Lines("/etc/machine-id").FirstOrDefault("").Trim(), BootId = Lines("/proc/sys/kernel/random/boot_id").FirstOrDefault("").Trim(),
            KernelVersion = Lines("/proc/sys/kernel/osrelease").FirstOrDefault("").Trim(), OsImage = os.GetValueOrDefault("PRETTY_NAME", "Linux"),
            Architecture = RuntimeInformation.OSArchitecture switch { System.Runtime.InteropServices.Architecture.Arm64 => "arm64", _ => "amd64" },
        };
    }

    // The machine's memory, or less when the cgroup that is the node's root is limited.
    private static decimal Memory()
    {
        decimal total = Number(Lines("/proc/meminfo").FirstOrDefault(l => l.StartsWith("MemTotal:", StringComparison.Ordinal), "")
            .Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1)) * 1024;
        decimal limit = Number(Lines("/sys/fs/cgroup/memory/memory.limit_in_bytes").FirstOrDefault());
        return limit > 0 && limit < total ? limit : total;
    }

    private static decimal CpuLimit()
    {
        decimal quota = Number(Lines("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").FirstOrDefault());
        decimal period = Number(Lines("/sys/fs/cgroup/cpu/cpu.cfs_period_us").FirstOrDefault());
        decimal cpus = Environment.ProcessorCount;
        return quota > 0 && period > 0 && quota / period < cpus ? quota / period : cpus;
    }

    private static long LowestScore()
    {
        string text = Lines("/proc/self/status").FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal), "");
        bool may = ulong.TryParse(text.Split('\t').LastOrDefault(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong bits)
            && (bits >> SysResourceBit & 1) == 1;
        return may ? -1000 : (long)Number(Lines("/proc/self/oom_score_adj").FirstOrDefault());
    }

    private static IEnumerable<string> Lines(string path) => File.Exists(path) ? File.ReadAllLines(path) : [];

    private static decimal Number(string? text) =>
        decimal.TryParse(text?.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out decimal n) ? n : 0;
}

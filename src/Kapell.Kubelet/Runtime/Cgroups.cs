using System.Globalization;
using Kapell.Kubelet.Pods;

namespace Kapell.Kubelet.Runtime;

/// <summary>Pod-level cgroups: made before the sandbox, removed after it. The runtime makes the containers' below them.</summary>
internal interface ICgroups
{
    /// <summary>Creates or updates; the path is relative to the hierarchy's root and starts with a slash.</summary>
    void Ensure(string path, PodLimits limits);

    /// <summary>Removes the group and what is left below it; false while processes are still in it.</summary>
    bool Remove(string path);
}

/// <summary>Where a pod's cgroup is: <c>/kubepods/burstable/pod&lt;uid&gt;</c>, guaranteed pods directly under <c>/kubepods</c>.</summary>
internal static class CgroupPaths
{
    public static string ForPod(string root, Pod pod) => pod.Qos switch
    {
        QosClass.Guaranteed => $"{root}/kubepods/pod{pod.Uid}",
        QosClass.Burstable => $"{root}/kubepods/burstable/pod{pod.Uid}",
        _ => $"{root}/kubepods/besteffort/pod{pod.Uid}",
    };

    /// <summary>Every place the pod's cgroup can be: of an orphan the class is not known any more.</summary>
    public static IEnumerable<string> AllFor(string root, string uid) =>
        [$"{root}/kubepods/pod{uid}", $"{root}/kubepods/burstable/pod{uid}", $"{root}/kubepods/besteffort/pod{uid}"];

    public static ICgroups Detect(string mount = "/sys/fs/cgroup") =>
        File.Exists(Path.Combine(mount, "cgroup.controllers")) ? new CgroupsV2(mount) : new CgroupsV1(mount);
}

/// <summary>Version 1: one tree for each controller.</summary>
internal sealed class CgroupsV1(string mount) : ICgroups
{
    public void Ensure(string path, PodLimits limits)
    {
        foreach (string hierarchy in Hierarchies())
        {
            string folder = hierarchy;
            foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
            {
                string parent = folder;
                folder = Path.Combine(folder, part);
                Directory.CreateDirectory(folder);
                InheritCpuset(parent, folder);
            }

            Write(folder, "cpu.shares", limits.CpuShares);
            if (limits.CpuQuota > 0)
            {
                Write(folder, "cpu.cfs_period_us", ResourceSettings.PeriodMicroseconds);
                Write(folder, "cpu.cfs_quota_us", limits.CpuQuota);
            }

            if (limits.MemoryBytes > 0)
            {
                Write(folder, "memory.limit_in_bytes", limits.MemoryBytes);
            }
        }
    }

    // The runtime leaves a group in the hybrid set-up's unified tree too, where we made none.
    public bool Remove(string path) => Trees().Aggregate(true, (done, tree) => CgroupFolder.Remove(tree + path) && done);

    private IEnumerable<string> Hierarchies() => Trees().Where(t => !File.Exists(Path.Combine(t, "cgroup.controllers")));

    private IEnumerable<string> Trees() => Directory.Exists(mount)
        ? Directory.EnumerateDirectories(mount).Where(d => new FileInfo(d).LinkTarget is null && File.Exists(Path.Combine(d, "cgroup.procs")))
        : [];

    // A new cpuset is empty and takes no process until it names processors and memory nodes.
    private static void InheritCpuset(string parent, string folder)
    {
        foreach (string file in (ReadOnlySpan<string>)["cpuset.cpus", "cpuset.mems"])
        {
            string own = Path.Combine(folder, file);
            if (File.Exists(own) && File.ReadAllText(own).Trim().Length == 0)
            {
                File.WriteAllText(own, File.ReadAllText(Path.Combine(parent, file)));
            }
        }
    }

    private static void Write(string folder, string file, long value)
    {
        string path = Path.Combine(folder, file);
        if (File.Exists(path))
        {
            File.WriteAllText(path, value.ToString(CultureInfo.InvariantCulture));
        }
    }
}

/// <summary>Version 2: one tree; controllers are switched on from the top down.</summary>
internal sealed class CgroupsV2(string mount) : ICgroups
{
    private static readonly string[] Controllers = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];

    public void Ensure(string path, PodLimits limits)
    {
        string folder = mount;
        foreach (string part in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            EnableControllers(folder);
            folder = Path.Combine(folder, part);
            Directory.CreateDirectory(folder);
        }

        // Kubernetes: cm CpuSharesToCPUWeight: [2, 262144] onto [1, 10000].
        Write(folder, "cpu.weight", (1 + ((limits.CpuShares - 2) * 9999 / 262142)).ToString(CultureInfo.InvariantCulture));
        Write(folder, "cpu.max", limits.CpuQuota > 0 ? $"{limits.CpuQuota} {ResourceSettings.PeriodMicroseconds}" : $"max {ResourceSettings.PeriodMicroseconds}");
        Write(folder, "memory.max", limits.MemoryBytes > 0 ? limits.MemoryBytes.ToString(CultureInfo.InvariantCulture) : "max");
    }

    public bool Remove(string path) => CgroupFolder.Remove(mount + path);

    private static void EnableControllers(string folder)
    {
        string available = Path.Combine(folder, "cgroup.controllers");
        string control = Path.Combine(folder, "cgroup.subtree_control");
        if (!File.Exists(available) || !File.Exists(control))
        {
            return;
        }

        string[] have = File.ReadAllText(available).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        string[] on = File.ReadAllText(control).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        string[] add = [.. Controllers.Where(c => have.Contains(c) && !on.Contains(c)).Select(c => "+" + c)];
        if (add.Length > 0)
        {
            File.WriteAllText(control, string.Join(' ', add));
        }
    }

    private static void Write(string folder, string file, string value)
    {
        string path = Path.Combine(folder, file);
        if (File.Exists(path))
        {
            File.WriteAllText(path, value);
        }
    }
}

/// <summary>Removal of one cgroup folder: its files are the kernel's and go with it, only folders are removed.</summary>
internal static class CgroupFolder
{
    public static bool Remove(string folder)
    {
        if (!Directory.Exists(folder))
        {
            return true;
        }

        bool empty = true;
        foreach (string child in Directory.EnumerateDirectories(folder))
        {
            empty &= Remove(child);
        }

        return empty && Native.RemoveFolder(folder);
    }
}

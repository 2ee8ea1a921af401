using Kapell.Kubelet.Runtime;
using Xunit;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class CgroupsTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("kapell-cgroups").FullName;

    [Fact]
    public void Version_1_copies_processors_down_and_writes_limits_in_each_hierarchy()
    {
        foreach (string name in (string[])["cpu", "cpuset", "memory"])
        {
            Directory.CreateDirectory(Path.Combine(_root, name));
            File.WriteAllText(Path.Combine(_root, name, "cgroup.procs"), "");
        }

        string pod = "/kubepods/podx";
        // The kernel makes the files; here they lie ready.
        Make("cpuset", "cpuset.cpus", "0-1");
        Make("cpuset", "cpuset.mems", "0");
        Make("cpuset/kubepods", "cpuset.cpus", "");
        Make("cpuset/kubepods/podx", "cpuset.cpus", "");
        Make("cpu/kubepods/podx", "cpu.shares", "1024");
        Make("memory/kubepods/podx", "memory.limit_in_bytes", "");
        CgroupPaths.Detect(_root).Ensure(pod, new PodLimits(512, 0, 1048576));
        Assert.Equal("0-1", Read("cpuset/kubepods/podx", "cpuset.cpus"));
        Assert.Equal("512", Read("cpu/kubepods/podx", "cpu.shares"));
        Assert.Equal("1048576", Read("memory/kubepods/podx", "memory.limit_in_bytes"));
    }

    [Fact]
    public void Version_2_switches_controllers_on_and_turns_shares_into_a_weight()
    {
        Make("", "cgroup.controllers", "cpu memory pids");
        Make("", "cgroup.subtree_control", "cpu");
        Make("kubepods/podx", "cpu.weight", "100");
        Make("kubepods/podx", "cpu.max", "");
        Make("kubepods/podx", "memory.max", "");
        CgroupPaths.Detect(_root).Ensure("/kubepods/podx", new PodLimits(262_144, 50_000, 0));
        Assert.Equal("+memory +pids", Read("", "cgroup.subtree_control"));
        Assert.Equal("10000", Read("kubepods/podx", "cpu.weight"));
        Assert.Equal("50000 100000", Read("kubepods/podx", "cpu.max"));
        Assert.Equal("max", Read("kubepods/podx", "memory.max"));
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private void Make(string folder, string file, string text)
    {
        Directory.CreateDirectory(Path.Combine(_root, folder));
        File.WriteAllText(Path.Combine(_root, folder, file), text);
    }

    private string Read(string folder, string file) => File.ReadAllText(Path.Combine(_root, folder, file));
}

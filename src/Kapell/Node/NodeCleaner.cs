using Kapell.Cli.Up;

namespace Kapell.Cli.Node;

/// <summary>Takes down what a cluster left running on this machine: its pods' shims and its containerd.</summary>
internal static class NodeCleaner
{
    /// <returns>How many pods were stopped.</returns>
    public static async Task<int> StopContainersAsync(ClusterLayout layout, TimeProvider time, CancellationToken stopping)
    {
        // A shim is known by the socket of its containerd on its command line; one shim holds one pod's containers.
        string[] shims = [.. Directory.GetDirectories("/proc").Where(d => IsShim(d, layout.ContainerdSocket)).Select(d => Path.GetFileName(d)!)];
        ContainerdRunner containerd = new(layout, time);
        if (HostProcess.Find("ctr") is { } ctr && File.Exists(layout.ContainerdSocket) && containerd.FindRunning() is not null)
        {
            await KillTasksAsync(ctr, layout, stopping);
        }

        await containerd.StopAsync(stopping);
        foreach (string shim in shims)
        {
            foreach (int child in Children(int.Parse(shim)))
            {
                Signals.Send(child, Signals.Kill);
            }

            Signals.Send(int.Parse(shim), Signals.Terminate);
        }

        await Task.Delay(TimeSpan.FromMilliseconds(shims.Length > 0 ? 300 : 0), time, stopping);
        foreach (string shim in shims.Where(s => IsShim("/proc/" + s, layout.ContainerdSocket)))
        {
            Signals.Send(int.Parse(shim), Signals.Kill);
        }

        await UnmountAsync(layout, stopping);

        // Without pods the bridge serves nobody, and its route would hide another cluster's of the same range.
        if (HostProcess.Find("ip") is { } ip && Directory.Exists("/sys/class/net/" + layout.Bridge))
        {
            await HostProcess.RunAsync(ip, ["link", "delete", layout.Bridge], stopping);
        }

        return shims.Length;
    }

    private static async Task KillTasksAsync(string ctr, ClusterLayout layout, CancellationToken stopping)
    {
        string[] prefix = ["--address", layout.ContainerdSocket, "-n", "k8s.io", "tasks"];
        ProcessResult list = await HostProcess.RunAsync(ctr, [.. prefix, "ls", "-q"], stopping);
        foreach (string id in list.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            await HostProcess.RunAsync(ctr, [.. prefix, "kill", "-a", "-s", "SIGKILL", id], stopping);
        }
    }

    // What a shim that is killed leaves mounted would stay until the next start of the cluster, and for ever when its folder is deleted.
    private static async Task UnmountAsync(ClusterLayout layout, CancellationToken stopping)
    {
        string below = layout.RunDir + "/";
        string[] mounts = [.. File.ReadLines("/proc/self/mounts").Select(static line => line.Split(' ')[1]).Where(m => m.StartsWith(below, StringComparison.Ordinal))];
        if (mounts.Length > 0 && HostProcess.Find("umount") is { } umount)
        {
            await HostProcess.RunAsync(umount, ["--lazy", .. mounts.Reverse()], stopping);
        }
    }

    private static bool IsShim(string process, string socket)
    {
        try
        {
            string line = File.ReadAllText(process + "/cmdline");
            return line.Contains("containerd-shim", StringComparison.Ordinal) && line.Contains(socket, StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static IEnumerable<int> Children(int pid)
    {
        string file = $"/proc/{pid}/task/{pid}/children";
        try
        {
            return File.ReadAllText(file).Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse);
        }
        catch (IOException)
        {
            return [];
        }
    }
}

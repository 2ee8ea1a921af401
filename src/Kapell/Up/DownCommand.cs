using Kapell.Base;
using Kapell.Cli.Node;

namespace Kapell.Cli.Up;

/// <summary><c>kapell down</c>: stops the cluster of a data folder, its containers included; the data stays.</summary>
internal static class DownCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TimeProvider time, TextWriter output)
    {
        FlagSet flags = new("kapell down", "Stops the cluster of a data folder and its containers. The data stays: kapell up brings everything back.");
        FlagValue<string> dataDir = flags.String("data-dir", ClusterLayout.DefaultDataDir, "The cluster's folder.");
        FlagValue<bool> keep = flags.Bool("keep-containers", false, "Leave the containers running; the next kapell up takes them over.");
        FlagValue<TimeSpan> timeout = flags.Duration("timeout", TimeSpan.FromSeconds(60), "How long the parts may take to stop before they are killed.");
        flags.Examples.Add("kapell down --data-dir /tmp/one");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            output.Write(flags.Help());
            return 0;
        }

        ClusterLayout layout = new(dataDir.Value);
        if (!Directory.Exists(layout.DataDir))
        {
            throw new UpException($"{layout.DataDir} holds no cluster", "name its folder with --data-dir");
        }

        int? holder = InstanceLock.Holder(layout);
        if (holder is > 0)
        {
            await StopProcessAsync(holder.Value, layout, timeout.Value, time, output);
        }
        else
        {
            output.WriteLine($"no kapell runs on {layout.DataDir}");
        }

        if (!keep.Value)
        {
            int stopped = await NodeCleaner.StopContainersAsync(layout, time, CancellationToken.None);
            output.WriteLine($"{stopped} pods stopped");
        }

        return 0;
    }

    private static async Task StopProcessAsync(int pid, ClusterLayout layout, TimeSpan timeout, TimeProvider time, TextWriter output)
    {
        long began = time.GetTimestamp();
        if (!Signals.Send(pid, Signals.Terminate))
        {
            throw new UpException($"process {pid} cannot be signalled from here", "run it as the user who started the cluster (sudo kapell down)");
        }

        while (InstanceLock.Holder(layout) == pid || Directory.Exists($"/proc/{pid}"))
        {
            if (time.GetElapsedTime(began) > timeout)
            {
                output.WriteLine($"process {pid} did not stop in {timeout.TotalSeconds:0} s and is killed");
                Signals.Send(pid, Signals.Kill);
                began = time.GetTimestamp();
            }

            await Task.Delay(TimeSpan.FromMilliseconds(30), time);
            if (File.Exists($"/proc/{pid}/stat") && File.ReadAllText($"/proc/{pid}/stat") is var stat && stat.Contains(") Z ", StringComparison.Ordinal))
            {
                break; // ended; its parent has not asked yet
            }
        }

        output.WriteLine($"stopped process {pid} in {time.GetElapsedTime(began).TotalSeconds:0.0} s");
    }
}

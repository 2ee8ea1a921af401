using System.Diagnostics;
using System.Text.Json.Nodes;

namespace Kapell.Cli.Up;

/// <summary><c>kapell up --detach</c>: starts itself in a session of its own and shows its steps until the node is Ready or it has ended.</summary>
internal static class Detached
{
    public static async Task<int> RunAsync(UpOptions options, IReadOnlyList<string> args, TimeProvider time, TextWriter output)
    {
        ClusterLayout layout = new(options.DataDir);
        if (InstanceLock.Holder(layout) is { } holder)
        {
            throw new UpException($"another kapell (process {holder}) runs on {layout.DataDir}",
                $"stop it with: kapell down --data-dir {layout.DataDir}; or choose another folder with --data-dir");
        }

        Directory.CreateDirectory(layout.Logs);
        File.Delete(layout.ReadyFile);
        string log = Path.Combine(layout.Logs, "up.log");
        File.WriteAllText(log, "");
        string[] own = [.. args.Where(a => a is not ("--detach" or "-detach" or "--detach=true" or "-detach=true"))];
        ProcessStartInfo start = new("/bin/sh", [
            "-c", "log=$1; shift; exec setsid \"$0\" \"$@\" >>\"$log\" 2>&1 </dev/null", Environment.ProcessPath!, log, "up", .. own,
        ]);
        using Process child = Process.Start(start)!;
        using FileStream shown = new(log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using StreamReader lines = new(shown);
        while (true)
        {
            bool ended = child.HasExited;
            bool ready = IsReady(layout, child.Id);
            output.Write(await lines.ReadToEndAsync());
            if (ready)
            {
                return 0;
            }

            if (ended)
            {
                return child.ExitCode == 0 ? 1 : child.ExitCode;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), time);
        }
    }

    private static bool IsReady(ClusterLayout layout, int pid)
    {
        try
        {
            return File.Exists(layout.ReadyFile) && (int?)JsonNode.Parse(File.ReadAllText(layout.ReadyFile))?["pid"] == pid;
        }
        catch (System.Text.Json.JsonException)
        {
            return false; // being written right now
        }
    }
}

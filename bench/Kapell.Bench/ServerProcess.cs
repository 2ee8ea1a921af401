using System.Globalization;

namespace Kapell.Bench;

/// <summary>What a server process has used so far, from /proc.</summary>
internal readonly record struct ServerUsage(TimeSpan Cpu, long ResidentBytes);

internal static class ServerProcess
{
    // USER_HZ: 100 on every Linux that .NET runs on.
    private const long TicksPerSecond = 100;

    /// <summary>The sum; null when there is none.</summary>
    public static ServerUsage? Sample(IReadOnlyList<int> pids)
    {
        ServerUsage? all = null;
        foreach (ServerUsage one in pids.Select(Sample).OfType<ServerUsage>())
        {
            all = new ServerUsage((all?.Cpu ?? TimeSpan.Zero) + one.Cpu, (all?.ResidentBytes ?? 0) + one.ResidentBytes);
        }

        return all;
    }

    /// <summary>Null without a process id; a process that does not exist is an error of the caller.</summary>
    public static ServerUsage? Sample(int pid)
    {
        if (pid == 0)
        {
            return null;
        }

        string stat = File.ReadAllText($"/proc/{pid}/stat");
        // The name, field 2, is in parentheses and may hold spaces; utime and stime are fields 14 and 15.
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        long ticks = long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
        string resident = File.ReadLines($"/proc/{pid}/status").First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
        long kilobytes = long.Parse(resident.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
        return new ServerUsage(TimeSpan.FromSeconds((double)ticks / TicksPerSecond), kilobytes * 1024);
    }
}

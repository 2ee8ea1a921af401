using System.Globalization;

namespace Kapell.Faults.World;

/// <summary>
/// The wall clock of one process, by libfaketime: the library stands before the system's and adds what a file says to every reading, so that
/// the clock of a process jumps while it runs. The kernel has namespaces for the other clocks only.
/// </summary>
internal static class WallClock
{
    /// <summary>
    /// For `env`. The file is read once a second, for at every look at a clock it would slow the process down. Clocks that count from the
    /// start of the machine, and times of files, stay true.
    /// </summary>
    public static string Environment(string library, string file) =>
        $"LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={file} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1";

    /// <summary>In one step: whoever reads the file finds the one offset or the other.</summary>
    public static void Write(string file, TimeSpan offset)
    {
        string next = file + ".next";
        File.WriteAllText(next, string.Create(CultureInfo.InvariantCulture, $"{offset.TotalSeconds:+0;-0;+0}s\n"));
        File.Move(next, file, overwrite: true);
    }
}

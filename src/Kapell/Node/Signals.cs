using System.Runtime.InteropServices;

namespace Kapell.Cli.Node;

/// <summary>POSIX signals to a process by id.</summary>
internal static partial class Signals
{
    public const int Kill = 9;
    public const int Terminate = 15;

    /// <returns>False when there is no such process or it is not ours to signal.</returns>
    public static bool Send(int pid, int signal) => kill(pid, signal) == 0;

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int pid, int signal);
}

using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Storage;

/// <summary>The system calls that .NET has no word for.</summary>
internal static partial class Native
{
    public const int LockExclusive = 2;
    public const int LockNonBlocking = 4;
    public const int NoSpace = 28;
    public const int QuotaExceeded = 122;
    private const int OpenDirectoryFlags = 0x10000 | 0x80000;

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int FdataSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int Flock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);

    /// <summary>Zero, or the error of the call that failed.</summary>
    public static int SyncDirectory(string path)
    {
        int descriptor = OpenFile(path, OpenDirectoryFlags);
        if (descriptor < 0)
        {
            return Marshal.GetLastPInvokeError();
        }

        int error = Fsync(descriptor) == 0 ? 0 : Marshal.GetLastPInvokeError();
        return Close(descriptor) == 0 ? error : error == 0 ? Marshal.GetLastPInvokeError() : error;
    }
}

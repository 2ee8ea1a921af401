using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Storage;

/// <summary>The system calls that .NET has no word for.</summary>
internal static partial class Native
{
    public const int LockShared = 1;
    public const int LockExclusive = 2;
    public const int LockNonBlocking = 4;
    public const int NoSpace = 28;
    public const int QuotaExceeded = 122;
    private const uint WriteAndWait = 1 | 2 | 4; // SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE, _WAIT_AFTER
    private const int OpenDirectoryFlags = 0x80000; // O_RDONLY, O_CLOEXEC
    private const int EmptyPath = 0x1000; // AT_EMPTY_PATH
    private const int OpenReadWriteCreateFlags = 0x2 | 0x40 | 0x80000; // O_RDWR, O_CREAT, O_CLOEXEC
    private const uint OwnerOnlyMode = 0x180; // 0600

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int FdataSync(SafeFileHandle file);

    /// <summary>Zero when it is done. Linux only.</summary>
    public static int SyncFileRange(SafeFileHandle file, long offset, long length) => SyncFileRange(file, offset, length, WriteAndWait);

    /// <summary>An invalid handle when it cannot be opened.</summary>
    public static SafeFileHandle OpenDirectory(string path) => new(OpenFile(path, OpenDirectoryFlags), ownsHandle: true);

    /// <summary>Null when it cannot be told. Linux only.</summary>
    public static DeviceNumber? DeviceOf(SafeFileHandle file)
    {
        try
        {
            FileStatus status = default;
            return !file.IsInvalid && Statx(file, "", EmptyPath, 0, ref status) == 0 ? new DeviceNumber(status.DeviceMajor, status.DeviceMinor) : null;
        }
        catch (EntryPointNotFoundException)
        {
            // A C library of before 2018.
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    public static partial int Flock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(SafeFileHandle directory, string path, int flags, uint mask, ref FileStatus status);

    [LibraryImport("libc", EntryPoint = "sync_file_range", SetLastError = true)]
    private static partial int SyncFileRange(SafeFileHandle file, long offset, long length, uint flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(int descriptor);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags, uint mode);

    /// <summary>Opens or creates a file without the lock that the runtime would put on it.</summary>
    public static SafeFileHandle OpenUnlocked(string path, out int error)
    {
        int descriptor = OpenFile(path, OpenReadWriteCreateFlags, OwnerOnlyMode);
        error = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        return new SafeFileHandle(descriptor, ownsHandle: true);
    }

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

    // struct statx, of which this is wanted.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct FileStatus
    {
        [FieldOffset(136)]
        public uint DeviceMajor;

        [FieldOffset(140)]
        public uint DeviceMinor;
    }
}

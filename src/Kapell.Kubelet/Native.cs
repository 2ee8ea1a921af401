using System.Runtime.InteropServices;

namespace Kapell.Kubelet;

/// <summary>The few system calls that .NET has no face for.</summary>
internal static partial class Native
{
    private const int UnmountDetach = 2;

    /// <summary>rmdir(2), for cgroups: the library's recursive delete would try to unlink the kernel's files.</summary>
    public static bool RemoveFolder(string path) => RmDir(path) == 0;

    /// <summary>rename(2), which replaces a symbolic link as one step.</summary>
    public static void Rename(string from, string to)
    {
        if (RenameCall(from, to) != 0)
        {
            throw new IOException($"rename {from} {to}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    public static void MountTmpfs(string target, string data)
    {
        if (Mount("tmpfs", target, "tmpfs", 0, data) != 0)
        {
            throw new IOException($"mount tmpfs on {target}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    public static bool Unmount(string target) => Umount(target, UnmountDetach) == 0;

    /// <summary>Whether something is mounted exactly there.</summary>
    public static bool IsMountPoint(string path) =>
        File.ReadLines("/proc/self/mountinfo").Any(line => line.Split(' ') is { Length: > 4 } words && words[4].Replace("\\040", " ", StringComparison.Ordinal) == path);

    /// <summary>The type bits of a file's mode (S_IFMT), links followed; 0 when there is nothing.</summary>
    public static int FileType(string path)
    {
        const int TypeMask = 0xF000;
        const int ModeOffset = 28; // struct statx: the same on every architecture
        byte[] buffer = new byte[256];
        return Statx(-100, path, 0, 2, buffer) == 0 ? BitConverter.ToUInt16(buffer, ModeOffset) & TypeMask : 0;
    }

    public static void ChangeOwner(string path, int user, int group)
    {
        if (LChown(path, user, group) != 0)
        {
            throw new IOException($"chown {path}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "rmdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RmDir(string path);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, byte[] buffer);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameCall(string from, string to);

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, nuint flags, string data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Umount(string target, int flags);

    [LibraryImport("libc", EntryPoint = "lchown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LChown(string path, int user, int group);
}

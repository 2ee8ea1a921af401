using System.ComponentModel;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Storage;

/// <summary>
/// Keeps a second process out of a data directory: an flock on a file in it, which names its holder. The kernel lets go of it when the
/// holder dies, however it dies, so no stale lock has ever to be removed by hand.
/// </summary>
public sealed class DirectoryLock : IDisposable
{
    private const string FileName = "lock";
    private readonly SafeFileHandle _handle;

    private DirectoryLock(SafeFileHandle handle) => _handle = handle;

    /// <exception cref="DirectoryLockedException">Another process holds it; the message names that process.</exception>
    public static DirectoryLock Acquire(string directory)
    {
        string path = Path.Combine(directory, FileName);
        SafeFileHandle handle = OpenUnlocked(path);
        if (Native.Flock(handle, Native.LockExclusive | Native.LockNonBlocking) != 0)
        {
            string holder = ReadHolder(handle);
            handle.Dispose();
            throw new DirectoryLockedException(directory, holder);
        }

        byte[] id = Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n");
        RandomAccess.SetLength(handle, 0);
        RandomAccess.Write(handle, id, 0);
        return new DirectoryLock(handle);
    }

    /// <summary>
    /// Keeps a program out that locks this file, which must exist, for itself while it works on it; null when one does. Shared, because the
    /// runtime locks so what it opens for reading.
    /// </summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static DirectoryLock? TryHold(string file)
    {
        SafeFileHandle handle = OpenUnlocked(file);
        if (Native.Flock(handle, Native.LockShared | Native.LockNonBlocking) == 0)
        {
            return new DirectoryLock(handle);
        }

        handle.Dispose();
        return null;
    }

    public void Dispose() => _handle.Dispose();

    private static SafeFileHandle OpenUnlocked(string path)
    {
        SafeFileHandle handle = Native.OpenUnlocked(path, out int error);
        return error switch
        {
            0 => handle,
            Native.NoSpace or Native.QuotaExceeded => throw new DiskFullException(path, "create"),
            _ => throw new IOException($"cannot open {path}: {new Win32Exception(error).Message}"),
        };
    }

    private static string ReadHolder(SafeFileHandle handle)
    {
        byte[] text = new byte[32];
        int length = RandomAccess.Read(handle, text, 0);
        string id = Encoding.ASCII.GetString(text, 0, length).Trim();
        return int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
            ? string.Create(CultureInfo.InvariantCulture, $"process {pid}")
            : "another process";
    }
}

using Microsoft.Win32.SafeHandles;

namespace Kapell.Storage;

/// <summary>
/// Has the device behind a file system make certain what it was given, and writes nothing: by the flush of a directory in which nothing
/// has changed.
/// <para>
/// For ext4 without a journal, where a flush of the file itself (fdatasync) also writes its inode, since the time of the last write
/// changes with every tick of the kernel (4 ms): a second write that the first has to be waited for, and that nobody needs (Linux 6.17,
/// fs/ext4/fsync.c ext4_fsync_nojournal). With a journal, and on other file systems, such a flush writes the data alone, as POSIX has
/// it, and there is nothing to gain: there is none of this for them.
/// </para>
/// </summary>
internal sealed class DeviceFlush : IDisposable
{
    private const string WithoutJournal = "<none>";

    private readonly SafeFileHandle _directory;

    private DeviceFlush(SafeFileHandle directory) => _directory = directory;

    /// <summary>Null where the file is to be flushed itself.</summary>
    public static DeviceFlush? Of(SafeFileHandle file) =>
        OperatingSystem.IsLinux() && Native.DeviceOf(file) is { } device ? Find(device, file) : null;

    /// <summary>False when it failed, with the error as the last of the system.</summary>
    public bool Run() => Native.FdataSync(_directory) == 0;

    public void Dispose() => _directory.Dispose();

    private static DeviceFlush? Find(DeviceNumber device, SafeFileHandle file)
    {
        try
        {
            // What the kernel calls the device, and what it says of a file system of this kind on it.
            string? link = new FileInfo($"/sys/dev/block/{device.Major}:{device.Minor}").LinkTarget;
            string journal = $"/sys/fs/ext4/{Path.GetFileName(link)}/journal_task";
            if (link is null || !File.Exists(journal) || File.ReadAllText(journal).Trim() != WithoutJournal)
            {
                return null;
            }

            // The further from the file, the less likely is it that their inodes lie in the same block, which would be written again.
            DeviceFlush? found = null;
            string? directory = Path.GetDirectoryName(new FileInfo($"/proc/self/fd/{file.DangerousGetHandle()}").LinkTarget);
            for (; directory is not null; directory = Path.GetDirectoryName(directory))
            {
                SafeFileHandle handle = Native.OpenDirectory(directory);
                if (Native.DeviceOf(handle) != device)
                {
                    handle.Dispose();
                    break;
                }

                found?.Dispose();
                found = new DeviceFlush(handle);
            }

            return found;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing is known of the file system: then what always works.
            return null;
        }
    }
}

/// <summary>The number of the device that a file lies on.</summary>
internal readonly record struct DeviceNumber(uint Major, uint Minor);

using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Kapell.Storage;

/// <summary>The real disk.</summary>
public sealed class FileDisk : IDisk
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>With those above it; each that is new is flushed into the one that it lies in, or a loss of power could take it with all its files.</summary>
    public void CreateDirectory(string path)
    {
        Stack<string> missing = [];
        for (string? at = Path.GetFullPath(path); at is not null && !Directory.Exists(at); at = Path.GetDirectoryName(at))
        {
            missing.Push(at);
        }

        Do(path, "create", () => Directory.CreateDirectory(path, OwnerOnly | UnixFileMode.UserExecute));
        foreach (string made in missing)
        {
            SyncDirectory(Path.GetDirectoryName(made)!);
        }
    }

    public IReadOnlyList<string> List(string directory) => Do(directory, "list", () =>
        Directory.EnumerateFiles(directory).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal).ToList());

    public IDiskFile Open(string path, DiskOpen mode)
    {
        SafeFileHandle handle = Do(path, "open", () => mode switch
        {
            DiskOpen.Read => File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete),
            DiskOpen.ReadWrite => File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete),
            _ => File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete),
        });
        if (mode == DiskOpen.Create)
        {
            Do(path, "create", () => File.SetUnixFileMode(handle, OwnerOnly));
        }

        return new RealFile(handle, path);
    }

    public void Rename(string from, string to) => Do(from, "rename", () => File.Move(from, to, overwrite: true));

    public void Delete(string path) => Do(path, "delete", () => File.Delete(path));

    public void SyncDirectory(string path)
    {
        int error = Native.SyncDirectory(path);
        if (error != 0)
        {
            throw Failure(path, "flush", error);
        }
    }

    public long FreeBytes(string directory) =>
        Do(directory, "look at", () => new DriveInfo(Path.GetFullPath(directory)).AvailableFreeSpace);

    private static IOException Failure(string path, string operation, int error) =>
        error is Native.NoSpace or Native.QuotaExceeded
            ? new DiskFullException(path, operation)
            : new DiskFailedException(path, operation, new Win32Exception(error));

    private static void Do(string path, string operation, Action action) =>
        Do(path, operation, () =>
        {
            action();
            return true;
        });

    /// <summary>Translates what the runtime throws, once. A missing file or directory stays what it is.</summary>
    private static T Do<T>(string path, string operation, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException and not (FileNotFoundException or DirectoryNotFoundException))
        {
            // On Unix the HResult of an IOException is the errno, except for the few that have a Windows name.
            bool full = e.HResult is Native.NoSpace or Native.QuotaExceeded || Marshal.GetLastSystemError() == Native.NoSpace;
            throw full ? new DiskFullException(path, operation) : new DiskFailedException(path, operation, e);
        }
    }

    private sealed class RealFile(SafeFileHandle handle, string path) : IDiskFile
    {
        private DeviceFlush? _device;
        private bool _deviceSought;

        public long Length => RandomAccess.GetLength(handle);

        public int Read(long offset, Span<byte> buffer)
        {
            int total = 0;
            while (total < buffer.Length)
            {
                int read;
                try
                {
                    read = RandomAccess.Read(handle, buffer[total..], offset + total);
                }
                catch (IOException e)
                {
                    throw new DiskFailedException(path, "read", e);
                }

                if (read == 0)
                {
                    break;
                }

                total += read;
            }

            return total;
        }

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            try
            {
                RandomAccess.Write(handle, bytes, offset);
            }
            catch (IOException e)
            {
                throw e.HResult is Native.NoSpace or Native.QuotaExceeded
                    ? new DiskFullException(path, "write")
                    : new DiskFailedException(path, "write", e);
            }
        }

        public void SetLength(long length) => Do(path, "resize", () => RandomAccess.SetLength(handle, length));

        public void WriteBack(long offset, long length)
        {
            // Elsewhere, and on file systems that have no such thing, a flush does it.
            if (!OperatingSystem.IsLinux() || Native.SyncFileRange(handle, offset, length) != 0)
            {
                Flush();
            }
        }

        public void Flush()
        {
            if (Native.FdataSync(handle) != 0)
            {
                throw Failure(path, "flush", Marshal.GetLastPInvokeError());
            }
        }

        public void FlushContent(long offset, long length)
        {
            if (!_deviceSought)
            {
                (_device, _deviceSought) = (DeviceFlush.Of(handle), true);
            }

            if (_device is null)
            {
                Flush();
            }
            else if (Native.SyncFileRange(handle, offset, length) != 0 || !_device.Run())
            {
                throw Failure(path, "flush", Marshal.GetLastPInvokeError());
            }
        }

        public void Dispose()
        {
            _device?.Dispose();
            handle.Dispose();
        }
    }
}

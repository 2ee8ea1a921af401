using System.Text;
using Kapell.Base;
using Kapell.Storage;
using Kapell.Storage.Wal;
using Xunit;

namespace Kapell.Etcd.Tests.Storage;

public sealed class FileDiskTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("kapell-disk").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void The_log_works_on_the_real_disk()
    {
        string path = Path.Combine(_directory, "member", "wal");
        FileDisk disk = new();
        WalOptions options = new() { SegmentBytes = 64 * 1024 };
        using (WriteAheadLog log = WriteAheadLog.Open(disk, path, options, _ => { }))
        {
            for (ulong i = 1; i <= 1000; i++)
            {
                log.Append([new WalRecord(1, i, Encoding.ASCII.GetBytes($"record {i} {new string('x', 300)}"))]);
            }

            log.Sync();
        }

        List<ulong> tags = [];
        using WriteAheadLog again = WriteAheadLog.Open(disk, path, options, r => tags.Add(r.Tag));
        Assert.Equal(Enumerable.Range(1, 1000).Select(i => (ulong)i), tags);
        Assert.True(again.SegmentCount > 3);
        Assert.True(disk.FreeBytes(path) > 0);
    }

    [Fact]
    public void What_is_never_flushed_is_lost_with_the_power_and_not_with_the_process()
    {
        MemoryDisk below = new(new Prng(1));
        UnsyncedDisk disk = new(below);
        disk.CreateDirectory("/m");
        using (IDiskFile file = disk.Open("/m/a", DiskOpen.Create))
        {
            file.Write(0, "content"u8);
            file.Flush();
        }

        disk.SyncDirectory("/m");
        Assert.Equal("content"u8.ToArray(), below.Content("/m/a"));
        Assert.Equal(0, below.Flushes);
        below.Crash(CrashMode.LoseUnsynced);
        Assert.Empty(disk.List("/m"));
    }

    [Fact]
    public void A_flush_of_new_content_makes_that_range_certain_and_no_other()
    {
        MemoryDisk disk = new(new Prng(1));
        using (IDiskFile file = disk.Open("/m/a", DiskOpen.Create))
        {
            file.Write(0, "----------"u8);
            file.Flush();
            disk.SyncDirectory("/m");
            file.Write(1, "abc"u8);
            file.Write(3, "cdef"u8);
            file.FlushContent(2, 3);
        }

        disk.Crash(CrashMode.LoseUnsynced);
        Assert.Equal("--bcd-----"u8.ToArray(), disk.Content("/m/a"));
    }

    /// <summary>Whatever way this file system has of it.</summary>
    [Fact]
    public void A_flush_of_new_content_works_on_the_real_disk_and_fails_with_words()
    {
        string path = Path.Combine(_directory, "a");
        FileDisk disk = new();
        using (IDiskFile file = disk.Open(path, DiskOpen.Create))
        {
            file.Write(0, new byte[10_000]);
            file.Flush();
            for (int i = 0; i < 3; i++)
            {
                file.Write(4000 + i, "x"u8);
                file.FlushContent(4000 + i, 1);
            }
        }

        Assert.Equal("\0xxx\0"u8.ToArray(), File.ReadAllBytes(path)[3999..4004]);

        using IDiskFile device = disk.Open("/dev/full", DiskOpen.ReadWrite);
        Assert.Contains("/dev/full", Assert.Throws<DiskFailedException>(() => device.FlushContent(0, 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_second_holder_of_a_directory_is_told_who_has_it()
    {
        using (DirectoryLock.Acquire(_directory))
        {
            DirectoryLockedException e = Assert.Throws<DirectoryLockedException>(() => DirectoryLock.Acquire(_directory));
            Assert.Contains($"process {Environment.ProcessId}", e.Message, StringComparison.Ordinal);
        }

        using DirectoryLock again = DirectoryLock.Acquire(_directory);
    }
}

using Kapell.Base;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Xunit;

namespace Kapell.Etcd.Tests.Storage;

public sealed class CheckpointFileTests
{
    private const string Directory = "/data/checkpoints";

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(262_144)]
    [InlineData(700_001)]
    public void Content_of_any_length_is_read_as_it_was_written_after_a_crash(int length)
    {
        MemoryDisk disk = new(new Prng(1));
        byte[] content = Content(length);
        Write(disk, 42, content);
        disk.Crash(CrashMode.LoseUnsynced);
        CheckpointInfo? latest = FindLatestGood(disk, out IReadOnlyList<CorruptLogException> damaged);
        Assert.Empty(damaged);
        Assert.Equal(42UL, latest!.Tag);
        using CheckpointReadStream reader = CheckpointFile.Open(disk, latest.Path);
        using MemoryStream read = new();
        reader.CopyTo(read);
        Assert.Equal(content, read.ToArray());
    }

    [Fact]
    public void A_checkpoint_that_was_not_committed_does_not_exist()
    {
        MemoryDisk disk = new(new Prng(2));
        Write(disk, 1, Content(10));
        CheckpointWriteStream writer = CheckpointFile.Create(disk, Directory, 2);
        writer.Write(Content(500_000));
        disk.Crash(CrashMode.KeepUnsynced);
        Assert.Equal(1UL, FindLatestGood(disk, out _)!.Tag);
        CheckpointFile.DeleteOld(disk, Directory, keep: 1);
        Assert.Single(disk.Paths);
    }

    [Fact]
    public void A_damaged_checkpoint_is_skipped_and_named()
    {
        MemoryDisk disk = new(new Prng(3));
        Write(disk, 1, Content(1000));
        CheckpointInfo newest = Write(disk, 2, Content(1000));
        byte[] good = disk.Content(newest.Path);
        for (int place = 0; place < good.Length; place += 7)
        {
            byte[] bad = good.ToArray();
            bad[place] ^= 4;
            disk.Overwrite(newest.Path, bad);
            CheckpointInfo? found = FindLatestGood(disk, out IReadOnlyList<CorruptLogException> damaged);
            Assert.Equal(1UL, found!.Tag);
            Assert.Equal(newest.Path, Assert.Single(damaged).File);
        }
    }

    [Fact]
    public void A_checkpoint_cut_off_at_any_length_is_not_whole()
    {
        MemoryDisk disk = new(new Prng(4));
        CheckpointInfo info = Write(disk, 5, Content(300));
        byte[] good = disk.Content(info.Path);
        for (int length = 0; length < good.Length; length++)
        {
            disk.Overwrite(info.Path, good[..length]);
            Assert.Throws<CorruptLogException>(() => CheckpointFile.Verify(disk, info.Path));
        }
    }

    [Fact]
    public void Only_the_newest_are_kept()
    {
        MemoryDisk disk = new(new Prng(5));
        for (ulong tag = 1; tag <= 5; tag++)
        {
            Write(disk, tag * 100, Content(10));
        }

        CheckpointFile.DeleteOld(disk, Directory, keep: 2);
        Assert.Equal(2, disk.Paths.Count());
        Assert.Equal(500UL, FindLatestGood(disk, out _)!.Tag);
    }

    [Fact]
    public void An_old_one_is_deleted_in_steps_and_who_is_stopped_goes_on_next_time()
    {
        MemoryDisk disk = new(new Prng(6));
        Write(disk, 1, Content(9 << 20));
        Write(disk, 2, Content(10));
        int steps = 0;
        Assert.Throws<OperationCanceledException>(() => CheckpointFile.DeleteOld(disk, Directory, keep: 1, () =>
        {
            steps++;
            throw new OperationCanceledException();
        }));
        Assert.Equal(2UL, FindLatestGood(disk, out IReadOnlyList<CorruptLogException> damaged)!.Tag);
        Assert.Empty(damaged);
        Assert.Equal(2, disk.Paths.Count());

        // No half block is left, which the file system would read to fill it with zeros.
        Assert.Equal(8 << 20, disk.Paths.Max(p => disk.Content(p).Length));
        CheckpointFile.DeleteOld(disk, Directory, keep: 1, () => steps++);
        Assert.Equal(4, steps);
        Assert.Single(disk.Paths);
    }

    [Fact]
    public void What_was_read_of_one_that_is_damaged_further_on_is_given_back()
    {
        MemoryDisk disk = new(new Prng(7));
        Write(disk, 1, Content(1000));
        CheckpointInfo newest = Write(disk, 2, Content(1_000_000));
        byte[] bad = disk.Content(newest.Path);
        bad[^100] ^= 1;
        disk.Overwrite(newest.Path, bad);
        List<string> discarded = [];
        CheckpointInfo? found = CheckpointFile.ReadLatestGood(disk, Directory, static reader => $"of {reader.Tag}: {reader.ReadByte()}", discarded.Add, out _, out string? content);
        Assert.Equal(1UL, found!.Tag);
        Assert.StartsWith("of 1: ", content, StringComparison.Ordinal);
        Assert.StartsWith("of 2: ", Assert.Single(discarded), StringComparison.Ordinal);
    }

    private static CheckpointInfo? FindLatestGood(MemoryDisk disk, out IReadOnlyList<CorruptLogException> damaged) =>
        CheckpointFile.ReadLatestGood(disk, Directory, static _ => "", static _ => { }, out damaged, out _);

    private static CheckpointInfo Write(MemoryDisk disk, ulong tag, byte[] content)
    {
        using CheckpointWriteStream writer = CheckpointFile.Create(disk, Directory, tag);
        writer.Write(content);
        return writer.Commit();
    }

    private static byte[] Content(int length)
    {
        Prng prng = new((ulong)length);
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++)
        {
            bytes[i] = (byte)prng.NextUInt64();
        }

        return bytes;
    }
}

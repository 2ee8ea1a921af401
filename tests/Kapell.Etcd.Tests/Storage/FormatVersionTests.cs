using System.Buffers.Binary;
using Kapell.Base;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;
using Xunit;

namespace Kapell.Etcd.Tests.Storage;

/// <summary>Files of a newer version are refused with words, are not called damaged, and are left as they are.</summary>
public sealed class FormatVersionTests
{
    private const int VersionAt = 8;

    [Fact]
    public void A_log_of_a_newer_format_is_refused()
    {
        MemoryDisk disk = new(new Prng(1));
        using (WriteAheadLog log = WriteAheadLog.Open(disk, "/wal", new WalOptions { SegmentBytes = 4096 }, static _ => { }))
        {
            log.Append([new WalRecord(1, 1, new byte[10])]);
            log.Sync();
        }

        string path = disk.Paths.Single();
        byte[] newer = disk.Content(path);
        MakeNewer(newer, crcAt: Enumerable.Range(12, 60).First(at => IsCrc(newer, at)));
        disk.Overwrite(path, newer);
        UnknownFormatException refusal = Assert.Throws<UnknownFormatException>(
            () => WriteAheadLog.Open(disk, "/wal", new WalOptions { SegmentBytes = 4096 }, static _ => { }));
        Assert.Contains("format version 9, and this program knows only 1: it was written by a newer version", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(newer, disk.Content(path));
    }

    [Fact]
    public void A_checkpoint_of_a_newer_format_is_not_passed_over_for_an_older_one()
    {
        MemoryDisk disk = new(new Prng(1));
        foreach (ulong tag in (ulong[])[1, 2])
        {
            using CheckpointWriteStream stream = CheckpointFile.Create(disk, "/snap", tag);
            stream.Write(new byte[100]);
            stream.Commit();
        }

        string path = CheckpointFile.NewestPath(disk, "/snap")!;
        byte[] newer = disk.Content(path);
        MakeNewer(newer, crcAt: 28);
        disk.Overwrite(path, newer);
        Assert.Throws<UnknownFormatException>(() => CheckpointFile.ReadLatestGood(disk, "/snap", static _ => "", static _ => { }, out _, out _));
    }

    private static bool IsCrc(byte[] file, int at) => BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at)) == Crc32C.Compute(file.AsSpan(0, at));

    private static void MakeNewer(byte[] file, int crcAt)
    {
        Assert.True(IsCrc(file, crcAt));
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(VersionAt), 9);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(crcAt), Crc32C.Compute(file.AsSpan(0, crcAt)));
    }
}

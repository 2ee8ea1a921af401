using System.Text;
using Kapell.Base;
using Kapell.Storage;
using Kapell.Storage.Wal;
using Xunit;

namespace Kapell.Etcd.Tests.Storage;

public sealed class WriteAheadLogTests
{
    private const string Directory = "/data/wal";
    private static readonly WalOptions Small = new() { SegmentBytes = 4096, RecordBytesMax = 100_000 };

    [Fact]
    public void What_was_synced_is_replayed_in_order_with_type_and_tag()
    {
        MemoryDisk disk = new(new Prng(1));
        using (WriteAheadLog log = Open(disk, out _))
        {
            log.Append([Record(1, "a"), Record(2, "b")]);
            log.Append([Record(3, "")]);
            log.Sync();
        }

        disk.Crash(CrashMode.LoseUnsynced);
        using WriteAheadLog again = Open(disk, out List<WalRecord> records);
        Assert.Equal(["1:a", "2:b", "3:"], Texts(records));
        Assert.Null(again.Recovery.TornFile);
    }

    [Fact]
    public void What_was_not_synced_is_lost_in_a_crash_and_the_log_goes_on()
    {
        MemoryDisk disk = new(new Prng(2));
        WriteAheadLog log = Open(disk, out _);
        log.Append([Record(1, "kept")]);
        log.Sync();
        log.Append([Record(2, "lost")]);
        disk.Crash(CrashMode.LoseUnsynced);
        using (WriteAheadLog again = Open(disk, out List<WalRecord> records))
        {
            Assert.Equal(["1:kept"], Texts(records));
            again.Append([Record(2, "new")]);
            again.Sync();
        }

        using WriteAheadLog last = Open(disk, out List<WalRecord> all);
        Assert.Equal(["1:kept", "2:new"], Texts(all));
    }

    /// <summary>Who copied the log may have made holes of its zeros: what is written into a hole is found by its inode alone.</summary>
    [Fact]
    public void Only_a_segment_of_our_own_zeros_is_flushed_without_its_inode()
    {
        FlushCounts disk = new(new MemoryDisk(new Prng(2)));
        (int Whole, int Content) SyncOf(WriteAheadLog log, WalRecord record)
        {
            log.Append([record]);
            (disk.Whole, disk.Content) = (0, 0);
            log.Sync();
            return (disk.Whole, disk.Content);
        }

        using (WriteAheadLog log = WriteAheadLog.Open(disk, Directory, Small, static _ => { }))
        {
            Assert.Equal((0, 1), SyncOf(log, Record(1, "a")));
        }

        using WriteAheadLog again = WriteAheadLog.Open(disk, Directory, Small, static _ => { });
        Assert.Equal((1, 0), SyncOf(again, Record(2, "b")));
        Assert.Equal((0, 1), SyncOf(again, Record(3, new string('x', 5000))));
    }

    [Fact]
    public void One_sync_serves_all_appends_before_it()
    {
        MemoryDisk disk = new(new Prng(3));
        using WriteAheadLog log = Open(disk, out _);
        int before = disk.Flushes;
        for (ulong i = 1; i <= 20; i++)
        {
            log.Append([Record(i, "x")]);
        }

        log.Sync();
        log.Sync();
        Assert.Equal(before + 1, disk.Flushes);
    }

    [Fact]
    public void A_last_record_torn_at_any_byte_is_cut_and_reported()
    {
        (byte[] whole, int start, int end) = ThreeRecords(synced: false);
        for (int cut = start + 1; cut < end; cut++)
        {
            byte[] torn = whole.ToArray();
            torn.AsSpan(cut).Clear();
            MemoryDisk disk = With(torn);
            using WriteAheadLog log = Open(disk, out List<WalRecord> records);
            Assert.Equal(["1:first", "2:second"], Texts(records));
            // Torn in the middle of a record that begins with zeros only, nothing shows.
            Assert.Equal(torn.AsSpan(start, end - start).IndexOfAnyExcept((byte)0) >= 0, log.Recovery.TornFile is not null);
            Assert.True(disk.Content(SegmentPath(1)).AsSpan(start).IndexOfAnyExcept((byte)0) < 0);
        }
    }

    [Fact]
    public void A_flipped_bit_in_a_record_before_the_end_is_refused_with_file_and_offset()
    {
        (byte[] whole, int thirdStart, _) = ThreeRecords(synced: true);
        int secondStart = Segment1RecordOffset(whole, 1);
        for (int place = secondStart; place < thirdStart; place++)
        {
            byte[] flipped = whole.ToArray();
            flipped[place] ^= 0x10;
            if (IsPadding(whole, place, thirdStart))
            {
                continue;
            }

            CorruptLogException e = Assert.Throws<CorruptLogException>(() => Open(With(flipped), out _));
            Assert.Equal(SegmentPath(1), e.File);
            Assert.Equal(secondStart, e.Offset);
            Assert.Contains("Do not delete it", e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_flipped_bit_in_the_last_record_is_refused_too_for_no_torn_write_looks_like_it()
    {
        (byte[] whole, int start, _) = ThreeRecords(synced: true);
        whole[start + 34] ^= 1;
        Assert.Throws<CorruptLogException>(() => Open(With(whole), out _));
    }

    [Fact]
    public void A_missing_segment_is_refused_by_name()
    {
        MemoryDisk disk = ManySegments(out _);
        disk.Delete(SegmentPath(2));
        CorruptLogException e = Assert.Throws<CorruptLogException>(() => Open(disk, out _));
        Assert.Contains("0000000000000002.wal", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Records_go_on_in_new_segments_and_old_ones_are_released_below_a_tag()
    {
        MemoryDisk disk = ManySegments(out ulong last);
        using WriteAheadLog log = Open(disk, out List<WalRecord> records);
        Assert.Equal(last, (ulong)records.Count);
        int before = log.SegmentCount;
        Assert.True(before > 3);
        Assert.True(log.ReleaseBelow(last / 2) > 0);
        using WriteAheadLog again = Open(disk, out List<WalRecord> rest);
        Assert.Contains(rest, r => r.Tag == last / 2);
        Assert.True(again.SegmentCount < before);
    }

    /// <summary>Its file is deleted later and in steps: whatever is left of it is nothing to the log, and the next start removes it.</summary>
    [Fact]
    public void A_released_segment_is_none_any_more_however_much_of_it_is_there()
    {
        MemoryDisk disk = ManySegments(out ulong last);
        string? released;
        using (WriteAheadLog log = Open(disk, out _))
        {
            int before = log.SegmentCount;
            released = log.ReleaseOne(last);
            Assert.Equal(before - 1, log.SegmentCount);
        }

        Assert.NotNull(released);
        disk.Overwrite(released, disk.Content(released)[..100]);
        disk.Crash(CrashMode.KeepUnsynced);
        using WriteAheadLog again = Open(disk, out List<WalRecord> records);
        Assert.Equal(last, records[^1].Tag);
        Assert.True(records[0].Tag > 1);
        Assert.DoesNotContain(released, disk.Paths);
    }

    [Fact]
    public void Each_new_segment_begins_with_the_head_records_of_the_caller()
    {
        MemoryDisk disk = new(new Prng(9));
        WalOptions options = Small with { SegmentHead = () => [Record(0, "who we are")] };
        using (WriteAheadLog log = WriteAheadLog.Open(disk, Directory, options, _ => { }))
        {
            for (ulong i = 1; i < 100; i++)
            {
                log.Append([Record(i, new string('x', 200))]);
            }

            log.Sync();
            log.ReleaseBelow(80);
        }

        using WriteAheadLog again = Open(disk, out List<WalRecord> records);
        Assert.Equal("0:who we are", Texts(records)[0]);
    }

    [Fact]
    public void A_record_larger_than_a_segment_gets_one_of_its_own()
    {
        MemoryDisk disk = new(new Prng(4));
        string large = new('y', 50_000);
        using (WriteAheadLog log = Open(disk, out _))
        {
            log.Append([Record(1, "a"), Record(2, large), Record(3, "b")]);
            log.Sync();
        }

        using WriteAheadLog again = Open(disk, out List<WalRecord> records);
        Assert.Equal(["1:a", "2:" + large, "3:b"], Texts(records));
    }

    [Fact]
    public void A_failed_flush_is_fatal_for_good()
    {
        MemoryDisk disk = new(new Prng(5));
        using WriteAheadLog log = Open(disk, out _);
        log.Append([Record(1, "a")]);
        disk.FailFlushes = true;
        Assert.Throws<DiskFailedException>(log.Sync);
        disk.FailFlushes = false;
        Assert.Throws<DiskFailedException>(log.Sync);
        Assert.Throws<DiskFailedException>(() => log.Append([Record(2, "b")]));
    }

    [Fact]
    public void A_full_disk_says_so()
    {
        MemoryDisk disk = new(new Prng(6)) { CapacityBytes = 10_000 };
        using WriteAheadLog log = Open(disk, out _);
        DiskFullException e = Assert.Throws<DiskFullException>(() =>
        {
            for (ulong i = 1; i < 100; i++)
            {
                log.Append([Record(i, new string('x', 200))]);
            }
        });
        Assert.Contains("no space left", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void After_any_crash_everything_synced_is_there_and_what_is_there_is_a_prefix()
    {
        for (ulong seed = 1; seed <= 300; seed++)
        {
            Prng prng = new(seed);
            MemoryDisk disk = new(prng.Split());
            List<string> written = [];
            int synced = 0;
            for (int life = 0; life < 4; life++)
            {
                using WriteAheadLog log = Open(disk, out List<WalRecord> records);
                List<string> found = Texts(records);
                Assert.True(found.Count >= synced, $"seed {seed}: {synced} were synced, {found.Count} are left");
                Assert.Equal(written.Take(found.Count), found);
                written = found;
                synced = found.Count;
                for (int i = 0; i < prng.NextInt(1, 30); i++)
                {
                    WalRecord record = Record((ulong)written.Count + 1, new string((char)('a' + (i % 26)), prng.NextInt(0, 900)));
                    log.Append([record]);
                    written.Add(Texts([record])[0]);
                    if (prng.Chance(0.3))
                    {
                        log.Sync();
                        synced = written.Count;
                    }

                    if (prng.Chance(0.1))
                    {
                        log.PrepareSpare();
                    }
                }

                disk.Crash((CrashMode)prng.NextInt(0, 3));
            }
        }
    }

    private static WriteAheadLog Open(MemoryDisk disk, out List<WalRecord> records)
    {
        List<WalRecord> found = [];
        records = found;
        return WriteAheadLog.Open(disk, Directory, Small, found.Add);
    }

    private static WalRecord Record(ulong tag, string text) => new(7, tag, Encoding.ASCII.GetBytes(text));

    private static List<string> Texts(IEnumerable<WalRecord> records) =>
        [.. records.Select(r => $"{r.Tag}:{Encoding.ASCII.GetString(r.Payload.Span)}")];

    private static string SegmentPath(int number) => $"{Directory}/{number:x16}.wal";

    private static MemoryDisk With(byte[] segment)
    {
        MemoryDisk disk = new(new Prng(1));
        disk.Overwrite(SegmentPath(1), segment);
        return disk;
    }

    private static (byte[] Segment, int LastStart, int LastEnd) ThreeRecords(bool synced)
    {
        MemoryDisk disk = new(new Prng(1));
        using WriteAheadLog log = Open(disk, out _);
        foreach ((ulong tag, string text) in new[] { (1UL, "first"), (2UL, "second"), (3UL, new string('z', 700)) })
        {
            log.Append([Record(tag, text)]);
            if (synced || tag == 2)
            {
                log.Sync();
            }
        }

        byte[] bytes = disk.Content(SegmentPath(1));
        return (bytes, Segment1RecordOffset(bytes, 2), bytes.AsSpan().LastIndexOfAnyExcept((byte)0) + 1);
    }

    /// <summary>Where the n-th record of the first segment begins: each is marked "KREC" 28 bytes in.</summary>
    private static int Segment1RecordOffset(byte[] bytes, int n)
    {
        int place = 0;
        for (int i = 0; i <= n; i++)
        {
            place += bytes.AsSpan(place).IndexOf("KREC"u8) + 4;
        }

        return place - 32;
    }

    /// <summary>The zeros between a payload and the end mark mean nothing.</summary>
    private static bool IsPadding(byte[] whole, int place, int recordEnd) =>
        place > recordEnd - 8 && whole.AsSpan(place, recordEnd - 1 - place).IndexOfAnyExcept((byte)0) < 0 && place < recordEnd - 1;

    private static MemoryDisk ManySegments(out ulong last)
    {
        MemoryDisk disk = new(new Prng(7));
        using WriteAheadLog log = Open(disk, out _);
        last = 100;
        for (ulong i = 1; i <= last; i++)
        {
            log.Append([Record(i, new string('x', 200))]);
        }

        log.Sync();
        return disk;
    }

    private sealed class FlushCounts(IDisk disk) : PassThroughDisk(disk)
    {
        public int Whole { get; set; }

        public int Content { get; set; }

        protected override IDiskFile Wrap(IDiskFile file) => new CountedFile(this, file);

        private sealed class CountedFile(FlushCounts counts, IDiskFile file) : PassThroughFile(file)
        {
            public override void Flush()
            {
                counts.Whole++;
                base.Flush();
            }

            public override void FlushContent(long offset, long length)
            {
                counts.Content++;
                base.FlushContent(offset, length);
            }
        }
    }
}

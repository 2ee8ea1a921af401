using System.Text;
using CsCheck;
using Kapell.Base;
using Kapell.Storage;
using Kapell.Storage.Bolt;
using Xunit;

namespace Kapell.Etcd.Tests.Bolt;

public sealed class BoltTests
{
    private const string Path = "/db";

    private static readonly Gen<byte[]> AnyKey = Gen.Frequency((9, Gen.Byte.Array[1, 12]), (1, Gen.Byte.Array[1, 3000]));

    private static readonly Gen<byte[]> AnyValue = Gen.Frequency(
        (8, Gen.Byte.Array[0, 40]), (1, Gen.Int[0, 20_000].Select(n => new byte[n])), (1, Gen.Const(Array.Empty<byte>())));

    private static readonly Gen<Dictionary<string, (byte[], byte[])[]>> AnyDatabase = Gen.Dictionary(
        Gen.String[Gen.Char['a', 'z'], 1, 20], Gen.Select(AnyKey, AnyValue).Array[0, 200])[0, 6];

    [Fact]
    public void What_was_written_is_read_in_order() => AnyDatabase.Sample(
        buckets =>
        {
            SortedDictionary<string, SortedDictionary<byte[], byte[]>> model = Model(buckets);
            (MemoryDisk disk, long bytes) = Write(model);
            using IDiskFile file = disk.Open(Path, DiskOpen.Read);
            Assert.Equal(bytes, file.Length);
            BoltReader reader = new(file, Path, file.Length);
            Assert.Equal(model.Keys, reader.Buckets);
            foreach ((string name, SortedDictionary<byte[], byte[]> pairs) in model)
            {
                List<(byte[], byte[])> read = [];
                Assert.True(reader.Visit(name, (k, v) => read.Add((k.ToArray(), v.ToArray()))));
                Assert.Equal(pairs.Keys, read.Select(p => p.Item1));
                Assert.Equal(pairs.Values, read.Select(p => p.Item2));
            }

            Assert.False(reader.Visit("not there", (_, _) => { }));
        },
        iter: 80);

    [Fact]
    public void A_tree_of_several_levels_is_read_as_it_was_written()
    {
        MemoryDisk disk = new(new Prng(1));
        using IDiskFile file = disk.Open(Path, DiskOpen.Create);
        BoltWriter writer = new(file);
        writer.BeginBucket("deep"u8);
        byte[] key = new byte[1200];
        for (int i = 0; i < 3000; i++)
        {
            // Three keys a page: many levels with few keys.
            Encoding.ASCII.GetBytes($"{i:d8}").CopyTo(key, 0);
            writer.Add(key, BitConverter.GetBytes(i));
        }

        writer.EndBucket();
        writer.Finish();
        BoltReader reader = new(file, Path, file.Length);
        int next = 0;
        reader.Visit("deep", (k, v) =>
        {
            Assert.Equal($"{next:d8}", Encoding.ASCII.GetString(k[..8]));
            Assert.Equal(next++, BitConverter.ToInt32(v));
        });
        Assert.Equal(3000, next);
    }

    /// <summary>Whatever stands in the file, it is read or refused: never another failure, never without end.</summary>
    [Fact]
    public void Damage_is_refused_or_does_not_matter()
    {
        SortedDictionary<string, SortedDictionary<byte[], byte[]>> model = Model(new Dictionary<string, (byte[], byte[])[]>
        {
            ["key"] = [.. Enumerable.Range(0, 200).Select(i => (Encoding.ASCII.GetBytes($"{i:d4}"), new byte[i % 20 == 0 ? 5000 : 20]))],
            ["meta"] = [("a"u8.ToArray(), "b"u8.ToArray())],
        });
        (MemoryDisk disk, _) = Write(model);
        byte[] good = disk.Content(Path);
        int refused = 0;
        Gen.Select(Gen.Select(Gen.Int[0, good.Length / 16 - 1], Gen.Int[0, 31], Gen.Byte).Array[1, 6], Gen.Int[0, 9]).Sample(
            (changes, cut) =>
            {
                byte[] bad = good.ToArray();
                foreach ((int page, int within, byte value) in changes)
                {
                    // The heads of pages and their first elements are where damage hurts.
                    bad[Math.Min(bad.Length - 1, (page * 16 / BoltWriter.PageBytes * BoltWriter.PageBytes) + within)] = value;
                }

                if (!TryReadAll(cut == 0 ? bad[..(bad.Length / 2)] : bad))
                {
                    Interlocked.Increment(ref refused);
                }
            },
            iter: 600);
        Assert.True(refused > 200, $"only {refused} of 600 were refused");
        Gen.Byte.Array[0, 20_000].Sample(garbage => Assert.False(TryReadAll(garbage)), iter: 80);
    }

    [Fact]
    public void A_tree_that_contains_itself_is_refused()
    {
        (MemoryDisk disk, _) = Write(Model(new Dictionary<string, (byte[], byte[])[]>
        {
            ["key"] = [.. Enumerable.Range(0, 1000).Select(i => (Encoding.ASCII.GetBytes($"{i:d4}"), new byte[50]))],
        }));
        byte[] bytes = disk.Content(Path);
        for (int page = 2; page < bytes.Length / BoltWriter.PageBytes; page++)
        {
            int head = page * BoltWriter.PageBytes;
            if (bytes[head + 8] == 1)
            {
                // The first child of the branch is the branch.
                BitConverter.TryWriteBytes(bytes.AsSpan(head + 24), (ulong)page);
            }
        }

        Assert.False(TryReadAll(bytes));
    }

    [Fact]
    public void One_of_the_two_heads_is_enough()
    {
        (MemoryDisk disk, _) = Write(Model(new Dictionary<string, (byte[], byte[])[]> { ["b"] = [("k"u8.ToArray(), "v"u8.ToArray())] }));
        byte[] good = disk.Content(Path);
        foreach (int head in (int[])[0, BoltWriter.PageBytes])
        {
            byte[] bad = good.ToArray();
            bad.AsSpan(head, 100).Clear();
            Assert.True(TryReadAll(bad));
        }
    }

    private static bool TryReadAll(byte[] bytes)
    {
        MemoryDisk disk = new(new Prng(2));
        disk.Overwrite(Path, bytes);
        using IDiskFile file = disk.Open(Path, DiskOpen.Read);
        try
        {
            BoltReader reader = new(file, Path, bytes.Length);
            foreach (string bucket in reader.Buckets)
            {
                reader.Visit(bucket, (_, _) => { });
            }

            return true;
        }
        catch (CorruptDatabaseException)
        {
            return false;
        }
    }

    private static SortedDictionary<string, SortedDictionary<byte[], byte[]>> Model(Dictionary<string, (byte[] Key, byte[] Value)[]> buckets)
    {
        SortedDictionary<string, SortedDictionary<byte[], byte[]>> model = new(StringComparer.Ordinal);
        foreach ((string name, (byte[], byte[])[] pairs) in buckets)
        {
            model[name] = new(Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)));
            foreach ((byte[] key, byte[] value) in pairs)
            {
                model[name][key] = value;
            }
        }

        return model;
    }

    private static (MemoryDisk Disk, long Bytes) Write(SortedDictionary<string, SortedDictionary<byte[], byte[]>> model)
    {
        MemoryDisk disk = new(new Prng(1));
        using IDiskFile file = disk.Open(Path, DiskOpen.Create);
        BoltWriter writer = new(file);
        foreach ((string name, SortedDictionary<byte[], byte[]> pairs) in model)
        {
            writer.BeginBucket(Encoding.ASCII.GetBytes(name));
            foreach ((byte[] key, byte[] value) in pairs)
            {
                writer.Add(key, value);
            }

            writer.EndBucket();
        }

        writer.Finish();
        return (disk, writer.Bytes);
    }
}

using Kapell.Base;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>The order of very many keys, and of keys that are hard to tell apart, against a sorted set.</summary>
public sealed class KeyOrderTests
{
    /// <summary>Several hundred leaves, so that branches are parted too.</summary>
    private const int Keys = 70_000;

    public static TheoryData<string> Kinds => ["scattered", "rising", "falling", "nested", "zeros", "rooms"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Keys_stand_in_the_order_of_their_bytes_whatever_comes_and_goes(string kind)
    {
        Prng prng = new(19);
        using MvccStore store = new();
        SortedSet<byte[]> model = new(Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b)));
        foreach (byte[] key in Make(kind, prng))
        {
            Put(store, key);
            model.Add(key);
        }

        Compare(model, store, prng);

        // Whole stretches and single keys go, so that leaves and branches become empty and begin with other keys.
        byte[][] all = [.. model];
        foreach ((int from, int to) in new[] { (0, all.Length / 8), (all.Length / 2, all.Length * 5 / 8) })
        {
            Write(store, () => store.DeleteRange(all[from], all[to], null));
            model.RemoveWhere(key => key.AsSpan().SequenceCompareTo(all[from]) >= 0 && key.AsSpan().SequenceCompareTo(all[to]) < 0);
        }

        foreach (byte[] key in all.Where(_ => prng.NextInt(0, 3) == 0))
        {
            Write(store, () => store.DeleteRange(key, default, null));
            model.Remove(key);
        }

        Put(store, "end"u8.ToArray());
        model.Add("end"u8.ToArray());
        Assert.Equal(RevisionStatus.Ok, store.Compact(store.Revision));
        while (store.Maintain(10_000))
        {
        }

        Assert.Equal(model.Count, store.KeyCount);
        Compare(model, store, prng);
        foreach (byte[] key in all.Where(_ => prng.NextInt(0, 2) == 0))
        {
            Put(store, key);
            model.Add(key);
        }

        Compare(model, store, prng);
        using MvccStore loaded = Reload(store);
        Assert.Equal(store.Revision, loaded.Revision);
        Compare(model, loaded, prng);
    }

    /// <summary>A checkpoint is read in the order of keys, and yet every key has its revisions in the order of time.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_key_that_was_written_many_times_is_read_back_at_every_revision(string kind)
    {
        Prng prng = new(23);
        using MvccStore store = new();
        byte[][] keys = [.. Make(kind, prng).Take(3000)];
        for (int i = 0; i < 12_000; i++)
        {
            byte[] key = keys[prng.NextInt(0, keys.Length)];
            if (prng.NextInt(0, 4) == 0)
            {
                Write(store, () => store.DeleteRange(key, default, null));
            }
            else
            {
                Put(store, key);
            }

            if (i == 4000)
            {
                Assert.Equal(RevisionStatus.Ok, store.Compact(store.Revision - 100));
            }
        }

        using MvccStore loaded = Reload(store);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] key = keys[prng.NextInt(0, keys.Length)];
            long revision = store.CompactRevision + prng.NextInt(0, (int)(store.Revision - store.CompactRevision) + 1);
            bool there = store.TryGet(key, revision, out RecordAddress expected);
            Assert.Equal(there, loaded.TryGet(key, revision, out RecordAddress found));
            Assert.True(!there || store.ReadBytes(expected).SequenceEqual(loaded.ReadBytes(found)));
        }
    }

    private static IEnumerable<byte[]> Make(string kind, Prng prng) => kind switch
    {
        "scattered" => Enumerable.Range(0, Keys).Select(i => Text($"scale/{(ulong)i * 0x9E3779B97F4BUL & 0xFFFF_FFFF_FFFFUL:D40}")),
        "rising" => Enumerable.Range(0, Keys).Select(i => Text($"rising/{i}x{i:D9}")),
        "falling" => Enumerable.Range(0, Keys).Select(i => Text($"falling/{Keys - i:D9}")),

        // Each begins with all that are shorter; and a thousand letters that all have in common.
        "nested" => Enumerable.Range(1, 800).Select(i => Text(new string('n', 1000 + (i * 7919 % 800)))),

        // Between "a" and "a\0" stands nothing.
        "zeros" => Enumerable.Range(0, 4000).Select(_ => Enumerable.Range(0, prng.NextInt(1, 24)).Select(_ => (byte)prng.NextInt(0, 2)).ToArray()),
        _ => Enumerable.Range(0, Keys).Select(i => Text($"/registry/{"pods events leases configmaps".Split(' ')[i % 4]}/space-{i * 7919 % 97}/{i * 104729 % Keys}")),
    };

    private static byte[] Text(string text) => System.Text.Encoding.UTF8.GetBytes(text);

    private static void Compare(SortedSet<byte[]> model, MvccStore store, Prng prng)
    {
        RangeResult result = new();
        Assert.Equal(RevisionStatus.Ok, store.Range(new RangeQuery { Key = [0], End = [0] }, result));
        byte[][] sorted = [.. model];
        Assert.Equal(sorted.Length, result.Records.Count);
        for (int i = 0; i < sorted.Length; i++)
        {
            Assert.True(store.Read(result.Records[i]).Key.SequenceEqual(sorted[i]), $"place {i}");
        }

        for (int i = 0; i < 2000; i++)
        {
            // A key that is there, one just before it or after it, or one that is only a piece of it.
            byte[] near = sorted[prng.NextInt(0, sorted.Length)];
            byte[] from = prng.NextInt(0, 4) switch
            {
                0 => near,
                1 => [.. near, 0],
                2 => near[..prng.NextInt(1, near.Length + 1)],
                _ => [.. near[..^1], (byte)(near[^1] ^ 1)],
            };
            store.Range(new RangeQuery { Key = from, End = [0], Limit = 1, StopsAtLimit = i >= 50 }, result);
            int at = Array.BinarySearch(sorted, from, model.Comparer);
            bool there = at >= 0;
            at = there ? at : ~at;
            Assert.True(i >= 50 || sorted.Length - at == result.Count);
            Assert.True(at == sorted.Length ? result.Records.Count == 0 : store.Read(result.Records[0]).Key.SequenceEqual(sorted[at]));
            Assert.Equal(there, store.TryGet(from, 0, out _));
        }
    }

    /// <summary>Found by the fuzzer: of no bytes, but marked as a deletion.</summary>
    [Fact]
    public void A_checkpoint_with_a_record_of_nothing_is_refused()
    {
        using MvccStore store = new();
        byte[] bytes = CheckpointBytes.Of(store);
        byte[] wrong = [.. bytes[..^4], 0, 0, 0, 0x80, 0, 0, 0, 0, .. bytes[^4..]];
        Assert.Throws<InvalidDataException>(() => CheckpointLoader.Load(new MemoryStream(wrong)));
    }

    private static MvccStore Reload(MvccStore store) => CheckpointLoader.Load(new MemoryStream(CheckpointBytes.Of(store)));

    private static void Put(MvccStore store, byte[] key) => Write(store, () => store.Put(key, BitConverter.GetBytes(store.Revision), 0));

    private static void Write(MvccStore store, Action work)
    {
        store.BeginWrite();
        work();
        store.EndWrite();
    }
}

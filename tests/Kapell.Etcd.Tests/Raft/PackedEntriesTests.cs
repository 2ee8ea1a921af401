using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

public sealed class PackedEntriesTests
{
    [Fact]
    public void They_are_what_a_queue_of_entries_is()
    {
        for (ulong seed = 1; seed <= 20; seed++)
        {
            Prng prng = new(seed);
            PackedEntries packed = new(new LogIndex(7));
            Queue<Entry> queue = [];
            LogIndex next = new(7);
            for (int step = 0; step < 2000; step++)
            {
                switch (prng.NextInt(0, 10))
                {
                    case 0:
                        int gone = prng.NextInt(0, queue.Count + 1);
                        packed.RemoveFirst(gone);
                        while (gone-- > 0)
                        {
                            queue.Dequeue();
                        }

                        break;
                    case 1 when prng.Chance(0.02):
                        next += (ulong)prng.NextInt(0, 100);
                        packed.Restart(next);
                        queue.Clear();
                        break;
                    default:
                        Entry entry = new(next, new Term((ulong)step), (EntryKind)prng.NextInt(0, 2), Data(prng));
                        packed.Add(entry);
                        queue.Enqueue(entry);
                        next = next.Next();
                        break;
                }

                Assert.Equal((queue.Count, queue.Count == 0 ? next : queue.Peek().Index), (packed.Count, packed.First));
                if (queue.Count > 0)
                {
                    Entry expected = queue.ElementAt(prng.NextInt(0, queue.Count));
                    Entry found = packed[expected.Index];
                    Assert.Equal((expected.Index, expected.Term, expected.Kind), (found.Index, found.Term, found.Kind));
                    Assert.Equal(expected.Data.ToArray(), found.Data.ToArray());
                    Assert.Equal((expected.Term, expected.Data.Length), (packed.TermOf(expected.Index), packed.LengthOf(expected.Index)));
                }
            }
        }
    }

    /// <summary>What a follower is being sent must not become another entry when it is forgotten here.</summary>
    [Fact]
    public void What_was_read_stays_what_it_is_when_the_place_is_used_again()
    {
        PackedEntries packed = new(new LogIndex(1));
        packed.Add(new Entry(new LogIndex(1), new Term(1), EntryKind.Normal, "before"u8.ToArray()));
        Entry read = packed[new LogIndex(1)];
        packed.RemoveFirst(1);
        packed.Add(new Entry(new LogIndex(2), new Term(1), EntryKind.Normal, "after!"u8.ToArray()));
        Assert.Equal("before"u8.ToArray(), read.Data.ToArray());
    }

    [Fact]
    public void A_row_that_goes_on_for_ever_takes_no_new_memory()
    {
        PackedEntries packed = new(new LogIndex(1));
        Entry[] entries = [.. Enumerable.Range(1, 20_000).Select(static i => new Entry(new LogIndex((ulong)i), new Term(1), EntryKind.Normal, new byte[300]))];
        long before = 0;
        for (int i = 0; i < entries.Length; i++)
        {
            packed.Add(entries[i]);
            packed.RemoveFirst(packed.Count > 3000 ? 1000 : 0);
            before = i == entries.Length / 2 ? GC.GetAllocatedBytesForCurrentThread() : before;
        }

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, PackedEntries.PieceBytes);
    }

    // Most are small; some fill what is left of a piece, or need one of their own.
    private static byte[] Data(Prng prng)
    {
        byte[] data = new byte[prng.NextInt(0, 40) switch
        {
            0 => PackedEntries.PieceBytes + prng.NextInt(0, 1000),
            1 or 2 => prng.NextInt(0, PackedEntries.PieceBytes + 1),
            3 => 0,
            _ => prng.NextInt(1, 2000),
        }];
        data.AsSpan().Fill((byte)prng.NextInt(1, 256));
        return data;
    }
}

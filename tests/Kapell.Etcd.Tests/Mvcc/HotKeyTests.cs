using Kapell.Base;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>One key with thousands of revisions, of which compactions forget some of the oldest again and again.</summary>
public sealed class HotKeyTests
{
    private static ReadOnlySpan<byte> Key => "hot"u8;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Every_revision_that_is_left_can_be_read(ulong seed)
    {
        Prng prng = new(seed);
        using MvccStore store = new();
        Put(store);
        for (int i = 0; i < 8000; i++)
        {
            // Long times in which more revisions come than go, and the other way round.
            bool grows = prng.NextInt(0, 10) < (i / 1000 % 2 == 0 ? 8 : 2);
            if (grows || store.CompactRevision == store.Revision)
            {
                Put(store);
            }
            else
            {
                long last = prng.NextInt(0, 30) == 0 ? store.Revision : Math.Min(store.Revision, store.CompactRevision + prng.NextInt(1, 4));
                Assert.Equal(RevisionStatus.Ok, store.Compact(last));
            }

            // A compaction is in the middle of it most of the time.
            store.Maintain(prng.NextInt(1, 4));
            Check(store, store.Revision);
            Check(store, Math.Max(1, store.CompactRevision));
            Check(store, Math.Max(1, store.CompactRevision) + (long)prng.NextBelow((ulong)(store.Revision - Math.Max(1, store.CompactRevision) + 1)));
        }

        Assert.Equal(RevisionStatus.Ok, store.Compact(Put(store)));
        while (store.Maintain(64))
        {
        }

        Check(store, store.Revision);
        using MvccStore single = new();
        Put(single);
        Assert.InRange(store.LiveBytes, 1, single.LiveBytes + 16);
    }

    private static long Put(MvccStore store)
    {
        store.BeginWrite();
        store.Put(Key, BitConverter.GetBytes(store.Revision + 1), lease: 0);
        store.EndWrite();
        return store.Revision;
    }

    // Each change is of this key: at a revision stands what was put with it.
    private static void Check(MvccStore store, long revision)
    {
        if (revision > 1)
        {
            Assert.True(store.TryGet(Key, revision, out RecordAddress address));
            KeyValueRecord record = store.Read(address);
            Assert.Equal(revision, record.ModRevision);
            Assert.Equal(revision, BitConverter.ToInt64(record.Value));
        }
    }
}

using System.Buffers.Binary;
using Kapell.Base;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>Many keys that are written again and again in no order: each page has some records that are dead, and none has many.</summary>
public sealed class OverwrittenStoreTests
{
    private const int Keys = 200_000;
    private const int Rounds = 4;
    private const int WritesARound = Keys / 4;
    private const long DeadBytesMax = 64 << 20; // RecordPages
    private const long Slack = 24 << 20; // Pages begun, the index's.

    [Fact]
    public void Memory_comes_back_from_pages_that_are_mostly_alive_too()
    {
        Prng prng = new(1);
        byte[] value = new byte[1000];
        int[] newest = new int[Keys];
        using MvccStore store = new();
        for (int key = 0; key < Keys; key++)
        {
            Put(store, key, value, 0);
        }

        long filled = store.AllocatedBytes;
        for (int round = 1; round <= Rounds; round++)
        {
            for (int i = 0; i < WritesARound; i++)
            {
                int key = prng.NextInt(0, Keys);
                newest[key] = (round * WritesARound) + i;
                Put(store, key, value, newest[key]);
            }

            // The first round's dead are not worth the work yet.
            Assert.Equal(round > 1, store.CompactWhole());
            Assert.InRange(store.AllocatedBytes, 1, filled + DeadBytesMax + Slack);
        }

        for (int key = 0; key < Keys; key++)
        {
            Assert.True(store.TryGet(NumberedKeys.Key(key), store.Revision, out RecordAddress at));
            Assert.Equal(newest[key], BinaryPrimitives.ReadInt32LittleEndian(store.Read(at).Value));
        }
    }

    private static void Put(MvccStore store, int key, byte[] value, int number)
    {
        BinaryPrimitives.WriteInt32LittleEndian(value, number);
        store.PutNumber(key, value);
    }
}

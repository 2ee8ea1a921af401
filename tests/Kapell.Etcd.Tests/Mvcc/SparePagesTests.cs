using Kapell.Base;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>
/// Memory that is touched for the first time is cleared by the kernel, a huge page in milliseconds: the thread that answers must not be the
/// one that waits for it.
/// </summary>
public sealed class SparePagesTests
{
    private const int Keys = 200_000;
    private const int WritesARound = 1_000;
    private const int RoundsUntilSteady = 100; // Dead records are let be until there are 64 MiB of them.
    private const int Rounds = 30;

    [Fact]
    public void A_store_that_grows_has_its_pages_made_ready_and_one_that_is_overwritten_uses_its_own_again()
    {
        int pieces = 0;
        using MvccStore store = new(work =>
        {
            // At once, so that their number is always the same.
            pieces++;
            work();
            return Task.CompletedTask;
        });
        byte[] value = new byte[1000];
        for (int key = 0; key < Keys; key++)
        {
            store.PutNumber(key, value);
        }

        Assert.InRange(pieces, 10, int.MaxValue);
        Prng prng = new(5);
        for (int round = 0; round < RoundsUntilSteady; round++)
        {
            Overwrite(store, prng, value);
        }

        (int before, long held) = (pieces, store.AllocatedBytes);
        for (int round = 0; round < Rounds; round++)
        {
            Overwrite(store, prng, value);
        }

        // 15 pages of new records, and several times as many of records that moved.
        Assert.InRange(pieces - before, 0, 3);
        Assert.InRange(store.AllocatedBytes, 1, held + (8 << 20));
    }

    [Fact]
    public void An_emptied_store_holds_none_of_them()
    {
        using MvccStore store = new(Task.Run);
        byte[] value = new byte[1000];
        for (int key = 0; key < Keys; key++)
        {
            store.PutNumber(key, value);
        }

        store.BeginWrite();
        store.DeleteRange(NumberedKeys.Key(0), NumberedKeys.Key(Keys), deleted: null);
        store.EndWrite();
        store.CompactWhole();
        Assert.InRange(store.AllocatedBytes, 0, 12 << 20);
    }

    private static void Overwrite(MvccStore store, Prng prng, byte[] value)
    {
        for (int i = 0; i < WritesARound; i++)
        {
            store.PutNumber(prng.NextInt(0, Keys), value);
        }

        store.CompactWhole();
    }
}

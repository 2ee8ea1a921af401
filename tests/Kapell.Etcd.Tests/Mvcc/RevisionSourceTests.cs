using Kapell.Base;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>More keys than are kept in one piece while they are found; <see cref="StoreModelTests"/> looks at what is given of few.</summary>
public sealed class RevisionSourceTests
{
    private const int Keys = 140_000;

    [Fact]
    public void What_is_older_than_the_log_comes_in_the_order_of_revisions_however_many_keys_there_are()
    {
        using MvccStore store = Fill();
        RevisionSource source = store.BeginRevisions();
        source.Find(static work => work(), 4096, CancellationToken.None);
        List<long> revisions = [];
        while (source.Next((RevisionKey key, in KeyValueRecord _) => revisions.Add(key.Main), 4096))
        {
        }

        source.Dispose();
        source.End();

        // Of the two changes of each second key the first is gone.
        Assert.Equal(Keys, revisions.Count);
        Assert.Equal(revisions.Order(), revisions);
        Assert.Equal(Keys, revisions.Distinct().Count());
        Assert.Equal(store.Revision, revisions[^1]);
    }

    [Fact]
    public void Nothing_is_read_when_the_memory_is_freed()
    {
        using MvccStore store = new();
        store.PutNumber(1, [1]);
        RevisionSource source = store.BeginRevisions();
        source.Find(static work => work(), 40, CancellationToken.None);
        source.Dispose();
        source.Dispose();
        Assert.Throws<InvariantBrokenException>(() => source.Next(static (RevisionKey _, in KeyValueRecord _) => { }, 40));
        source.End();
    }

    private static MvccStore Fill()
    {
        MvccStore store = new();
        int[] numbers = [.. Enumerable.Range(0, Keys)];
        Prng random = new(1);
        for (int i = Keys - 1; i > 0; i--)
        {
            int other = random.NextInt(0, i + 1);
            (numbers[i], numbers[other]) = (numbers[other], numbers[i]);
        }

        Array.ForEach(numbers, n => store.PutNumber(n, [1]));
        Array.ForEach(numbers, n =>
        {
            if (n % 2 == 0)
            {
                store.PutNumber(n, [2]);
            }
        });
        store.CompactWhole();
        return store;
    }
}

using System.Text;
using CsCheck;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

/// <summary>The index with many keys: every range, limit and order as sorting a list would give it.</summary>
public sealed class RangeModelTests
{
    private static readonly Gen<string> AnyKey = Gen.String[Gen.Char['a', 'd'], 1, 5];

    [Fact]
    public void Ranges_are_what_a_sorted_list_says() => Gen.Select(
        AnyKey.Array[0, 600], AnyKey.Array[0, 200], Gen.Select(AnyKey, AnyKey).Array[20], Gen.Int[0, 50]).Sample(
        (added, removed, ranges, limit) =>
        {
            using MvccStore store = new();
            SortedSet<string> model = new(StringComparer.Ordinal);
            foreach (string key in added)
            {
                Write(store, () => store.Put(Encoding.ASCII.GetBytes(key), default, 0));
                model.Add(key);
            }

            foreach (string key in removed)
            {
                Write(store, () => store.DeleteRange(Encoding.ASCII.GetBytes(key), default, null));
                model.Remove(key);
            }

            if (store.Revision > 1 && limit % 2 == 0)
            {
                Assert.Equal(RevisionStatus.Ok, store.Compact(store.Revision));
                while (store.Maintain(64))
                {
                }
            }

            foreach ((string from, string to) in ranges)
            {
                string[] expected = [.. model.Where(k => string.CompareOrdinal(k, from) >= 0 && string.CompareOrdinal(k, to) < 0)];
                RangeResult result = new();
                store.Range(new RangeQuery { Key = Encoding.ASCII.GetBytes(from), End = Encoding.ASCII.GetBytes(to), Limit = limit }, result);
                Assert.Equal(expected.Length, result.Count);
                Assert.Equal(limit == 0 ? expected : expected.Take(limit), Names(store, result));
                Assert.Equal(limit > 0 && expected.Length > limit, result.More);
                store.Range(
                    new RangeQuery { Key = Encoding.ASCII.GetBytes(from), End = [0], SortOrder = SortOrder.Descend }, result);
                Assert.Equal(model.Where(k => string.CompareOrdinal(k, from) >= 0).Reverse(), Names(store, result));
            }
        },
        iter: 60);

    [Fact]
    public void A_range_read_bit_by_bit_is_that_of_its_beginning() => Gen.Select(
        AnyKey.Array[1, 300], AnyKey.Array[0, 100], Gen.Int[1, 40], Gen.Int[0, 30], Gen.Bool, Gen.Bool).Sample(
        (before, meanwhile, keysMax, limit, counts, descends) =>
        {
            using MvccStore store = new();
            foreach (string key in before)
            {
                Write(store, () => store.Put(Encoding.ASCII.GetBytes(key), default, 0));
            }

            RangeQuery query = new() { Key = "a"u8, End = "c"u8, Limit = limit, CountOnly = counts, SortOrder = descends ? SortOrder.Descend : SortOrder.None };
            RangeResult whole = new();
            store.Range(query, whole);
            RangeResult result = new();
            store.Range(query, result, keysMax);
            store.Pin();
            for (int i = 0; !result.IsWhole; i++)
            {
                if (i < meanwhile.Length)
                {
                    byte[] key = Encoding.ASCII.GetBytes(meanwhile[i]);
                    Write(store, () =>
                    {
                        if (i % 3 == 0)
                        {
                            store.DeleteRange(key, default, null);
                        }
                        else
                        {
                            store.Put(key, "new"u8, 0);
                        }
                    });
                    store.Compact(store.Revision);
                    store.Maintain(64);
                }

                store.GoOn(query, result, keysMax);
            }

            Assert.Equal(whole.Records, result.Records);
            Assert.Equal((whole.Count, whole.More, whole.StoreRevision), (result.Count, result.More, result.StoreRevision));
            store.Unpin();
        },
        iter: 200);

    private static void Write(MvccStore store, Action work)
    {
        store.BeginWrite();
        work();
        store.EndWrite();
    }

    private static List<string> Names(MvccStore store, RangeResult result)
    {
        List<string> names = [];
        foreach (RecordAddress address in result.Records)
        {
            names.Add(Encoding.ASCII.GetString(store.Read(address).Key));
        }

        return names;
    }
}

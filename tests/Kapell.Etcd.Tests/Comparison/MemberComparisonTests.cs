using System.Runtime.InteropServices;
using System.Text;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Comparison;
using Kapell.Etcd.Tests.Mvcc;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Comparison;

public sealed class MemberComparisonTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(5000)]
    public async Task The_one_that_differs_is_named_with_key_and_revision(int keys)
    {
        using TestMembers members = new(3);
        members.Write(store => Puts(store, keys));
        Assert.Empty(await members.RoundAsync(1));
        string key = $"k{keys / 2:d5}";
        Flip(members.Store(2), key);
        foreach (ulong viewer in (ulong[])[1, 2, 3])
        {
            Difference found = Assert.Single(await members.RoundAsync(viewer));
            Assert.Equal(key, Encoding.UTF8.GetString(found.Key));
            Assert.Equal(Modified(members.Store(1), key), found.Revision);
            Assert.Equal([2UL], found.Differing);
        }
    }

    [Fact]
    public async Task Of_a_key_with_a_long_history_the_change_is_named()
    {
        using TestMembers members = new(3);
        members.Write(store => Puts(store, 3000, distinct: 2));
        Flip(members.Store(3), "k00001", revision: 1500);
        Difference found = Assert.Single(await members.RoundAsync(1));
        Assert.Equal("k00001", Encoding.UTF8.GetString(found.Key));
        Assert.Equal([3UL], found.Differing);
        Assert.Equal(Modified(members.Store(1), "k00001", 1500), found.Revision);
        Assert.Contains("member 3 differs from the majority, first at key \"k00001\"", found.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_that_has_keys_too_many_or_too_few_is_found()
    {
        using TestMembers members = new(3);
        members.Write(store => Puts(store, 2500));
        Puts(members.Store(2), 1);
        members.Write(store => Puts(store, 1), except: 2);
        Assert.Empty(await members.RoundAsync(1));
        Put(members.Store(1), "odd");
        members.Write(static store => Put(store, "even"), except: 1);
        foreach (ulong viewer in (ulong[])[1, 2])
        {
            // They lie in different stretches of the keys.
            List<Difference> found = await members.RoundAsync(viewer);
            Assert.Equal(["even", "odd"], found.Select(static d => Encoding.UTF8.GetString(d.Key)));
            Assert.All(found, static d => Assert.Equal([1UL], d.Differing));
        }
    }

    [Fact]
    public async Task Without_a_majority_nobody_is_accused_alone()
    {
        using TestMembers members = new(2);
        members.Write(store => Puts(store, 10));
        Flip(members.Store(2), "k00003");
        Difference found = Assert.Single(await members.RoundAsync(1));
        Assert.Equal([0UL], found.Accused);
        Assert.Contains("no majority is alike", found.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task When_a_compaction_comes_around_to_freeing_makes_no_difference()
    {
        using TestMembers members = new(3);
        Prng prng = new(5);
        for (int round = 0; round < 60; round++)
        {
            int seed = round;
            members.Write(store => Mixed(store, new Prng((ulong)seed)));
            if (round % 5 == 4)
            {
                members.Write(static store => store.Compact(store.Revision - 7));
            }

            // One frees at once, one never gets around to it, one is read from a checkpoint.
            while (members.Store(1).Maintain(1000))
            {
            }

            if (round % 11 == 10)
            {
                members.Reload(3);
            }

            Assert.Empty(await members.RoundAsync((ulong)prng.NextInt(1, 4)));
        }
    }

    [Fact]
    public async Task Who_lags_or_has_compacted_further_is_no_difference()
    {
        using TestMembers members = new(3);
        members.Write(store => Puts(store, 100));
        members.Write(store => Puts(store, 20), except: 2);
        Assert.Empty(await members.RoundAsync(1));
        Assert.Empty(await members.RoundAsync(2));
        Assert.Equal(RevisionStatus.Ok, members.Store(3).Compact(60));
        Assert.Empty(await members.RoundAsync(1));
        Flip(members.Store(3), "k00099");
        Assert.Equal([3UL], Assert.Single(await members.RoundAsync(2)).Differing);
    }

    [Fact]
    public void A_key_is_shown_as_text_or_bytes_and_not_at_any_length()
    {
        Assert.Equal("a/b", Difference.Show("a/b"u8));
        Assert.Equal("\\x00\\xff\\x22", Difference.Show([0, 255, (byte)'"']));
        Assert.Equal(259, Difference.Show(new byte[1000].Select(static _ => (byte)'x').ToArray()).Length);
    }

    private static void Puts(MvccStore store, int count, int distinct = int.MaxValue)
    {
        for (int i = 0; i < count; i++)
        {
            Put(store, $"k{i % distinct:d5}");
        }
    }

    private static void Put(MvccStore store, string key)
    {
        store.BeginWrite();
        store.Put(Encoding.UTF8.GetBytes(key), "value"u8, 0);
        store.EndWrite();
    }

    private static void Mixed(MvccStore store, Prng prng)
    {
        for (int i = 0; i < 20; i++)
        {
            store.BeginWrite();
            byte[] key = [(byte)prng.NextInt(0, 30)];
            if (prng.Chance(0.4))
            {
                store.DeleteRange(key, [(byte)(key[0] + 3)], null);
            }
            else
            {
                store.Put(key, [1, 2, 3], 0);
            }

            store.EndWrite();
        }
    }

    private static long Modified(MvccStore store, string key, long revision = 0)
    {
        Assert.True(store.TryGet(Encoding.UTF8.GetBytes(key), revision, out RecordAddress address));
        return store.Read(address).ModRevision;
    }

    private static void Flip(MvccStore store, string key, long revision = 0)
    {
        Assert.True(store.TryGet(Encoding.UTF8.GetBytes(key), revision, out RecordAddress address));
        MemoryMarshal.GetReference(store.Read(address).Value) ^= 0x20;
    }

    private sealed class TestMembers(int count) : IDisposable
    {
        private readonly MvccStore[] _stores = [.. Enumerable.Range(0, count).Select(static _ => new MvccStore())];

        public MvccStore Store(ulong id) => _stores[id - 1];

        public void Write(Action<MvccStore> write, ulong except = 0)
        {
            for (ulong id = 1; id <= (ulong)_stores.Length; id++)
            {
                if (id != except)
                {
                    write(Store(id));
                }
            }
        }

        public void Reload(ulong id)
        {
            byte[] bytes = CheckpointBytes.Of(Store(id), piece: 1000);
            Store(id).Dispose();
            _stores[id - 1] = CheckpointLoader.Load(new MemoryStream(bytes));
        }

        public async Task<List<Difference>> RoundAsync(ulong self)
        {
            MemberComparison comparison = new(new View(this, self));
            List<Difference> found = [];
            ByteString? next = ByteString.Empty;
            while (next is not null)
            {
                PieceOutcome outcome = await comparison.PieceAsync(next, TestContext.Current.CancellationToken);
                found.AddRange(outcome.Difference is { } difference ? [difference] : []);
                next = outcome.Next;
            }

            return found;
        }

        public void Dispose()
        {
            foreach (MvccStore store in _stores)
            {
                store.Dispose();
            }
        }

        private sealed class View(TestMembers members, ulong self) : IComparedMembers
        {
            public ulong Self => self;

            public int Count => members._stores.Length;

            public CompareAnswer Own(CompareRequest request) => StoreAnswers.Answer(members.Store(self), request);

            public Task<IReadOnlyDictionary<ulong, CompareAnswer>> OthersAsync(CompareRequest request, CancellationToken cancellation) =>
                Task.FromResult<IReadOnlyDictionary<ulong, CompareAnswer>>(Enumerable.Range(1, Count).Select(static i => (ulong)i).Where(id => id != self)
                    .ToDictionary(static id => id, id => StoreAnswers.Answer(members.Store(id), request)));
        }
    }
}

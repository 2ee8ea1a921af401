using System.Text;
using CsCheck;
using Kapell.Mvcc;
using Xunit;

namespace Kapell.Etcd.Tests.Mvcc;

public sealed class WatchHubTests
{
    /// <summary>Ends: none, unbounded, or a key.</summary>
    private static readonly Gen<(string Key, string End)> AnyRange = Gen.Select(
        Gen.String[Gen.Char['a', 'c'], 1, 2], Gen.OneOf(Gen.Const(""), Gen.Const("\0"), Gen.String[Gen.Char['a', 'c'], 1, 2]));

    [Fact]
    public void Whoever_watches_a_key_is_offered_its_changes_once_and_nobody_else() => Gen.Select(
        AnyRange.Array[0, 20], Gen.Int[0, 19].Array[0, 10], Gen.String[Gen.Char['a', 'c'], 1, 2].Array[1, 20]).Sample(
        (ranges, leaving, written) =>
        {
            using MvccStore store = new();
            List<Target> targets = [.. ranges.Select(r => new Target(Encoding.ASCII.GetBytes(r.Key), Encoding.ASCII.GetBytes(r.End)))];
            targets.ForEach(t => store.Watchers.Add(t.Key, t.End, t));
            foreach (int i in leaving.Where(i => i < targets.Count).Distinct())
            {
                store.Watchers.Remove(targets[i].Key, targets[i].End, targets[i]);
                targets[i].Left = true;
            }

            foreach (string key in written)
            {
                store.BeginWrite();
                store.Put(Encoding.ASCII.GetBytes(key), default, 0);
                store.EndWrite();
            }

            Assert.Equal(targets.Count(t => !t.Left), store.Watchers.Count);
            foreach (Target target in targets)
            {
                IEnumerable<long> expected = written.Select((k, i) => (Key: Encoding.ASCII.GetBytes(k), Position: (long)i))
                    .Where(w => !target.Left && KeyRange.Contains(target.Key, target.End, w.Key)).Select(w => w.Position);
                Assert.Equal(expected, target.Offered);
            }
        },
        iter: 200);

    [Fact]
    public void What_watchers_were_told_of_is_there_until_its_compaction_frees_something()
    {
        using MvccStore store = new();
        for (int i = 0; i < 3; i++)
        {
            store.BeginWrite();
            store.Put("a"u8, [(byte)i], 0);
            store.EndWrite();
        }

        Assert.Equal(RevisionStatus.Ok, store.Compact(4));
        Assert.True(store.IsCompacting);
        Assert.False(store.Maintain(64, upTo: 0));
        Assert.True(store.ReadChange(0, out long revision, out RecordAddress address));
        Assert.Equal((2L, (byte)0), (revision, store.Read(address).Value[0]));
        while (store.Maintain(64))
        {
            // The next step.
        }

        Assert.False(store.IsCompacting);
        Assert.False(store.ReadChange(0, out _, out _));
        Assert.True(store.ReadChange(2, out _, out _));
    }

    private sealed class Target(byte[] key, byte[] end) : IWatchTarget
    {
        public void Moved(MvccStore former, MvccStore store) => throw new InvalidOperationException("no store is replaced here");

        public byte[] Key => key;

        public byte[] End => end;

        public bool Left { get; set; }

        public List<long> Offered { get; } = [];

        public void Offer(long position, bool tombstone) => Offered.Add(position);
    }
}

using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>The log in memory against a list of terms by index.</summary>
public sealed class LogModelTests
{
    [Fact]
    public void It_does_what_a_list_does()
    {
        for (ulong seed = 1; seed <= 60; seed++)
        {
            Prng prng = new(seed);
            RaftLog log = new(default, [], looseMin: 1 + (int)(seed % 4));
            List<ulong> terms = [0];
            ulong compacted = 0;
            for (int step = 0; step < 300; step++)
            {
                switch (prng.NextInt(0, 6))
                {
                    case 0 or 1 or 2:
                        Append(prng, log, terms);
                        break;
                    case 3:
                        log.AcceptUnwritten();
                        log.DurableTo(log.HandedOut);
                        log.CommitTo(new LogIndex(log.Committed.Value + (ulong)prng.NextInt(0, (int)(log.Last.Index - log.Committed) + 1)));
                        break;
                    case 4:
                        log.AcceptApplying(log.Appliable);
                        log.AppliedTo(log.Applying);
                        break;
                    case 5:
                        compacted = Math.Max(compacted, (ulong)prng.NextInt(0, (int)log.Applied.Value + 1));
                        log.Compact(new LogIndex(compacted));
                        break;
                }

                Compare(prng, log, terms, compacted);
            }
        }
    }

    private static void Append(Prng prng, RaftLog log, List<ulong> terms)
    {
        int from = prng.NextInt((int)log.Committed.Value + 1, terms.Count + 1);
        ulong term = terms[^1] + (ulong)prng.NextInt(0, 2);
        term = Math.Max(term, 1);
        int count = prng.NextInt(1, 5);
        terms.RemoveRange(from, terms.Count - from);
        terms.AddRange(Enumerable.Repeat(term, count));
        log.Append([.. Enumerable.Range(from, count).Select(i => new Entry(new LogIndex((ulong)i), new Term(term), EntryKind.Normal, Data(term, (ulong)i)))]);
    }

    private static byte[] Data(ulong term, ulong index) => [.. Enumerable.Repeat((byte)((term * 31) + index), (int)(index % 5))];

    private static void Compare(Prng prng, RaftLog log, List<ulong> terms, ulong compacted)
    {
        Assert.Equal((ulong)terms.Count - 1, log.Last.Index.Value);
        Assert.Equal(terms[^1], log.Last.Term.Value);
        Assert.Equal(compacted + 1, log.First.Value);
        Assert.Equal((int)(log.Applied.Value - compacted), log.AppliedCount);
        Assert.Equal(Enumerable.Range(1, (int)log.Applied.Value).Sum(i => (ulong)i > compacted ? i % 5 : 0), log.AppliedBytes);
        int index = prng.NextInt(0, terms.Count + 2);
        ulong? expected = (ulong)index >= compacted && index < terms.Count ? terms[index] : null;
        Assert.Equal(expected, log.TermAt(new LogIndex((ulong)index))?.Value);

        // The highest place at or before the index with a term not above the one given.
        ulong term = (ulong)prng.NextInt(0, (int)terms[^1] + 2);
        int at = Math.Min(index, terms.Count - 1);
        LogPosition hint = log.FindConflictByTerm(new LogIndex((ulong)at), new Term(term));
        int slow = at;
        while (slow > 0 && (ulong)slow >= compacted && terms[slow] > term)
        {
            slow--;
        }

        Assert.Equal((ulong)slow, hint.Index.Value);
        if (log.First <= log.Last.Index)
        {
            LogIndex from = new(log.First.Value + (ulong)prng.NextInt(0, (int)(log.Last.Index - log.First) + 1));
            int max = prng.NextInt(1, 6);
            IReadOnlyList<Entry> slice = log.Slice(from, log.Last.Index, max, long.MaxValue);
            Assert.Equal(Math.Min((ulong)max, log.Last.Index - from + 1), (ulong)slice.Count);
            Assert.All(slice, (e, i) => Assert.Equal((from.Value + (ulong)i, terms[(int)from.Value + i]), (e.Index.Value, e.Term.Value)));
            Assert.All(slice, static e => Assert.Equal(Data(e.Term.Value, e.Index.Value), e.Data.ToArray()));
            Assert.Equal(slice.Count, log.FindConflict([.. slice, new Entry(new LogIndex(slice[^1].Index.Value + 1), new Term(99), EntryKind.Normal, default)]));
            Assert.Null(log.FindConflict(slice));
        }
    }
}

using System.Collections.Immutable;
using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>Majorities and configurations against counts that are slow and plain.</summary>
public sealed class QuorumModelTests
{
    private const int Cases = 400;
    private static readonly MemberId Self = new(1);

    [Fact]
    public void What_is_committed_is_what_a_slow_count_says()
    {
        Prng prng = new(11);
        for (int i = 0; i < Cases; i++)
        {
            ConfState conf = RandomConf(prng);
            RaftNode node = Lead(conf, out Term term);
            const int entries = 12;
            for (int e = 0; e < entries; e++)
            {
                Assert.Equal(ProposeResult.Accepted, node.Propose(new byte[] { 1 }));
            }

            Work(node);
            Dictionary<MemberId, ulong> match = new() { [Self] = node.LastIndex.Value };
            foreach (MemberId other in conf.Members().Where(static m => m != Self))
            {
                ulong at = (ulong)prng.NextInt(1, (int)node.LastIndex.Value + 1);
                match[other] = at;
                node.Step(new AppendResponse(other, Self, term, true, new LogIndex(at), default));
            }

            ulong expected = 1;
            for (ulong at = 2; at <= node.LastIndex.Value; at++)
            {
                bool Has(ImmutableArray<MemberId> voters) => voters.Count(v => match[v] >= at) * 2 > voters.Length;
                expected = Has(conf.Voters) && (!conf.IsJoint || Has(conf.VotersOutgoing)) ? at : expected;
            }

            Assert.Equal(expected, node.Committed.Value);
        }
    }

    [Fact]
    public void An_election_is_won_by_the_votes_that_a_slow_count_says()
    {
        Prng prng = new(12);
        for (int i = 0; i < Cases; i++)
        {
            ConfState conf = RandomConf(prng);
            RaftNode node = Campaign(conf, out Term term);
            HashSet<MemberId> yes = [Self];
            HashSet<MemberId> no = [];
            foreach (MemberId other in conf.Members().Where(static m => m != Self))
            {
                if (node.Role != Role.Candidate)
                {
                    break;
                }

                bool granted = prng.Chance(0.6);
                (granted ? yes : no).Add(other);
                node.Step(new VoteResponse(other, Self, term, PreVote: false, granted));
                Assert.Equal(Outcome(conf, yes, no), node.Role);
            }
        }
    }

    /// <summary>Thesis §4.1, §4.3: two majorities that could decide differently would be a split brain.</summary>
    [Fact]
    public void Majorities_before_and_after_any_change_meet()
    {
        Prng prng = new(13);
        for (int run = 0; run < Cases; run++)
        {
            ConfState conf = ConfState.Of(Ids(prng, 1, 5));
            for (int step = 0; step < 6; step++)
            {
                ConfChange change = conf.IsJoint ? ConfChange.LeaveJoint : RandomChange(prng);
                if (conf.After(change) is not { } next)
                {
                    continue;
                }

                Assert.False(next.Voters.IsEmpty);
                Assert.Empty(next.Learners.Intersect(next.Voters));
                Assert.Empty(next.Learners.Intersect(next.VotersOutgoing));
                Assert.All(next.LearnersNext, m => Assert.Contains(m, next.VotersOutgoing));
                Assert.All(Deciding(conf), before => Assert.All(Deciding(next), after => Assert.NotEqual(0, before & after)));
                conf = next;
            }
        }
    }

    private static Role Outcome(ConfState conf, HashSet<MemberId> yes, HashSet<MemberId> no)
    {
        bool Won(ImmutableArray<MemberId> voters) => voters.Count(yes.Contains) * 2 > voters.Length;
        bool Lost(ImmutableArray<MemberId> voters) => voters.Count(v => !no.Contains(v)) * 2 <= voters.Length;
        return Lost(conf.Voters) || (conf.IsJoint && Lost(conf.VotersOutgoing)) ? Role.Follower
            : Won(conf.Voters) && (!conf.IsJoint || Won(conf.VotersOutgoing)) ? Role.Leader
            : Role.Candidate;
    }

    /// <summary>All sets of members, as bits, that can decide alone.</summary>
    private static IEnumerable<int> Deciding(ConfState conf)
    {
        for (int set = 1; set < 1 << 8; set++)
        {
            bool Majority(ImmutableArray<MemberId> voters) => voters.Count(v => (set & (1 << (int)v.Value)) != 0) * 2 > voters.Length;
            if (Majority(conf.Voters) && (!conf.IsJoint || Majority(conf.VotersOutgoing)))
            {
                yield return set;
            }
        }
    }

    private static ConfChange RandomChange(Prng prng)
    {
        ConfChangeStep Step() => new((ConfChangeKind)prng.NextInt(0, 3), new MemberId((ulong)prng.NextInt(1, 7)));
        return prng.Chance(0.5)
            ? ConfChange.Of(Step().Kind, Step().Member)
            : new ConfChange([.. Enumerable.Range(0, prng.NextInt(2, 4)).Select(_ => Step())], ConfChangeTransition.Auto, default);
    }

    private static MemberId[] Ids(Prng prng, int min, int max) =>
        [.. Enumerable.Range(1, 6).OrderBy(_ => prng.NextUInt64()).Take(prng.NextInt(min, max + 1)).Select(static i => new MemberId((ulong)i))];

    private static ConfState RandomConf(Prng prng)
    {
        ImmutableArray<MemberId> voters = [.. Ids(prng, 1, 5).Append(Self).Distinct().Order()];
        ImmutableArray<MemberId> outgoing = prng.Chance(0.5) ? [.. Ids(prng, 1, 5).Append(Self).Distinct().Order()] : [];
        return new ConfState { Voters = voters, VotersOutgoing = outgoing };
    }

    private static RaftNode Campaign(ConfState conf, out Term term)
    {
        LogPosition begin = new(new Term(1), new LogIndex(1));
        RaftNode node = new(
            new RaftConfig { Id = Self, Prng = new Prng(1), PreVote = false },
            new RaftStart { HardState = new HardState(new Term(1), MemberId.None, begin.Index), Snapshot = new SnapshotMetadata(begin, conf) });
        node.Campaign();
        Work(node);
        term = node.Term;
        return node;
    }

    private static RaftNode Lead(ConfState conf, out Term term)
    {
        RaftNode node = Campaign(conf, out term);
        foreach (MemberId other in conf.Members().Where(static m => m != Self))
        {
            node.Step(new VoteResponse(other, Self, term, PreVote: false, Granted: true));
        }

        Assert.Equal(Role.Leader, node.Role);
        Work(node);
        return node;
    }

    private static void Work(RaftNode node)
    {
        while (node.HasReady)
        {
            node.Persisted(node.TakeReady().Number);
        }
    }
}

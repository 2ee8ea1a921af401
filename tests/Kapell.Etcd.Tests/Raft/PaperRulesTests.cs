using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>The rules of figure 2 and of §5 to §8 that <see cref="PaperTests"/> does not have; <see cref="PaperTable"/> lists all.</summary>
public sealed class PaperRulesTests
{
    private static readonly MemberId One = new(1);
    private static readonly MemberId Two = new(2);
    private static readonly MemberId Three = new(3);

    // Figure 2, followers: "If election timeout elapses without receiving AppendEntries RPC from current leader or granting vote".
    [Fact]
    public void Granting_a_vote_begins_the_election_timeout_anew()
    {
        TestMember member = Founder();
        Tick(member, 9);
        member.Node.Step(new VoteRequest(Two, One, new Term(5), Last(member), false, false));
        Tick(member, 9);
        Assert.Equal((Role.Follower, new Term(5)), (member.Node.Role, member.Node.Term));
    }

    // The same sentence.
    [Fact]
    public void Hearing_the_leader_begins_the_election_timeout_anew()
    {
        TestMember member = Founder();
        Term term = new(5);
        for (int i = 0; i < 5; i++)
        {
            member.Node.Step(i % 2 == 0
                ? new Heartbeat(Two, One, term, LogIndex.Zero, 0)
                : new AppendRequest(Two, One, term, Last(member), LogIndex.Zero, []));
            Tick(member, 9);
            Assert.Equal((Role.Follower, term), (member.Node.Role, member.Node.Term));
        }
    }

    // §5.2: "If the leader's term [...] is at least as large as the candidate's current term, then the candidate recognizes the leader".
    [Fact]
    public void A_candidate_that_hears_a_leader_of_its_term_follows_it()
    {
        TestMember member = Candidate();
        Term term = member.Node.Term;
        member.Node.Step(new AppendRequest(Two, One, term, Last(member), LogIndex.Zero, []));
        Assert.Equal((Role.Follower, Two, term), (member.Node.Role, member.Node.Leader, member.Node.Term));
    }

    // §5.2: "If the term in the RPC is smaller than the candidate's current term, then the candidate rejects the RPC and continues".
    [Fact]
    public void A_candidate_that_hears_a_leader_of_an_older_term_goes_on()
    {
        TestMember member = Candidate();
        Term term = member.Node.Term;
        member.Node.Step(new AppendRequest(Two, One, new Term(term.Value - 1), Last(member), LogIndex.Zero, []));
        Assert.Equal((Role.Candidate, term), (member.Node.Role, member.Node.Term));
    }

    // §5.2: "each candidate will time out and start a new election by incrementing its term".
    [Fact]
    public void A_candidate_without_a_majority_tries_again_in_a_newer_term()
    {
        TestMember member = Candidate();
        Term term = member.Node.Term;
        Tick(member, 20);
        Assert.True(member.Node.Term > term);
        Assert.Equal(Role.Candidate, member.Node.Role);
        Assert.Equal(2, member.Outbox.OfType<VoteRequest>().Count(r => r.Term == term.Next()));
    }

    // §5.2: "A candidate wins an election if it receives votes from a majority of the servers in the full cluster for the same term."
    [Fact]
    public void A_vote_of_an_earlier_term_does_not_count()
    {
        TestMember member = Candidate();
        Term earlier = member.Node.Term;
        Tick(member, 20);
        member.Node.Step(new VoteResponse(Two, One, earlier, PreVote: false, Granted: true));
        Assert.Equal(Role.Candidate, member.Node.Role);
        member.Node.Step(new VoteResponse(Two, One, member.Node.Term, PreVote: false, Granted: true));
        Assert.Equal(Role.Leader, member.Node.Role);
    }

    // Figure 2, leaders: "Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server; repeat during idle periods";
    // §8: "each leader commit[s] a blank no-op entry into the log at the start of its term".
    [Fact]
    public void A_new_leader_speaks_at_once_with_an_empty_entry_and_then_in_every_interval()
    {
        TestMember member = Leader(out Term term);
        member.Pump();
        AppendRequest[] first = [.. member.Outbox.OfType<AppendRequest>()];
        Assert.Equal([Two, Three], first.Select(static a => a.To).Order());
        Assert.All(first, a => Assert.True(a.Entries is [{ Data.IsEmpty: true } e] && e.Term == term));
        for (int i = 0; i < 5; i++)
        {
            member.Outbox.Clear();
            Tick(member, 1);
            Assert.Equal([Two, Three], member.Outbox.OfType<Heartbeat>().Select(static h => h.To).Order());
        }
    }

    // Figure 2, AppendEntries 3: "If an existing entry conflicts with a new one [...], delete the existing entry and all that follow it".
    [Fact]
    public void The_first_entry_that_differs_takes_all_behind_it_with_it()
    {
        TestMember member = Founder();
        LogPosition founded = Last(member);
        Append(member, new Term(2), founded, Entries(founded, new Term(2), 5));
        Append(member, new Term(3), new LogPosition(new Term(2), founded.Index + 1), Entries(new LogPosition(new Term(2), founded.Index + 1), new Term(3), 1));
        Assert.Equal(new LogPosition(new Term(3), founded.Index + 2), Last(member));
    }

    // Figure 2, AppendEntries 3 and 4: only a conflict deletes. A request that was late must not shorten the log.
    [Fact]
    public void A_request_whose_entries_are_all_there_shortens_nothing()
    {
        TestMember member = Founder();
        LogPosition founded = Last(member);
        IReadOnlyList<Entry> five = Entries(founded, new Term(2), 5);
        Append(member, new Term(2), founded, five);
        Append(member, new Term(2), founded, [.. five.Take(2)]);
        Append(member, new Term(2), founded, []);
        Assert.Equal(founded.Index + 5, member.Node.LastIndex);
    }

    // Figure 2, AppendEntries 5: "set commitIndex = min(leaderCommit, index of last new entry)".
    [Fact]
    public void What_lies_beyond_the_last_new_entry_is_not_committed_by_it()
    {
        TestMember member = Founder();
        LogPosition founded = Last(member);
        Append(member, new Term(2), founded, Entries(founded, new Term(2), 5));
        member.Node.Step(new AppendRequest(
            Two, One, new Term(3), new LogPosition(new Term(2), founded.Index + 2), founded.Index + 9, []));
        Assert.Equal(founded.Index + 2, member.Node.Committed);
    }

    // §5.3: "the leader retries AppendEntries RPCs indefinitely [...] until all followers eventually store all log entries".
    [Fact]
    public void What_was_lost_is_sent_again_until_it_arrives()
    {
        TestNetwork network = new(3, seed: 9);
        TestMember leader = network.Elect();
        int slow = (int)network.Members.First(m => m != leader).Id.Value;
        for (int i = 0; i < 5; i++)
        {
            network.Cut((int)leader.Id.Value, slow);
            network.Propose($"e{i}");
            network.Tick(1);
            network.Heal();
        }

        network.Tick(3);
        Assert.Equal(["e0", "e1", "e2", "e3", "e4"], network[slow].AppliedTexts);
    }

    // §7: "If [...] the follower receives a snapshot that describes a prefix of its log [...], entries following the snapshot are still valid
    // and must be retained."
    [Fact]
    public void A_checkpoint_of_a_prefix_of_the_log_keeps_what_follows()
    {
        TestMember member = Founder();
        LogPosition founded = Last(member);
        Append(member, new Term(2), founded, Entries(founded, new Term(2), 5));
        LogPosition at = new(new Term(2), founded.Index + 3);
        member.Node.Step(new InstallSnapshot(Two, One, new Term(2), new SnapshotMetadata(at, member.Node.ConfState)));
        Assert.Equal(founded.Index + 5, member.Node.LastIndex);
        Assert.Equal(at.Index, member.Node.Committed);
        Assert.Null(Taken(member));
    }

    // §7: "the follower discards its entire log; it is all superseded by the snapshot".
    [Fact]
    public void A_checkpoint_beyond_the_log_replaces_it()
    {
        TestMember member = Founder();
        LogPosition founded = Last(member);
        Append(member, new Term(2), founded, Entries(founded, new Term(2), 5));
        LogPosition at = new(new Term(4), founded.Index + 4);
        SnapshotMetadata snapshot = new(at, member.Node.ConfState);
        member.Node.Step(new InstallSnapshot(Two, One, new Term(4), snapshot));
        Assert.Equal((at.Index, at.Index), (member.Node.LastIndex, member.Node.Committed));
        Assert.Equal(snapshot, Taken(member));
    }

    // §7, figure 13: a snapshot that is older than what is committed here is old news.
    [Fact]
    public void A_checkpoint_of_the_past_changes_nothing()
    {
        TestMember member = Founder();
        LogPosition before = Last(member);
        member.Node.Step(new InstallSnapshot(
            Two, One, new Term(4), new SnapshotMetadata(new LogPosition(new Term(1), new LogIndex(1)), member.Node.ConfState)));
        Assert.Equal(before, Last(member));
        Assert.Null(Taken(member));
    }

    // §10.2.1 of the thesis (pipelining needs a bound): no more than so many bytes are on their way to one follower.
    [Fact]
    public void A_follower_that_does_not_answer_is_sent_no_more_than_the_bound()
    {
        const int bound = 10_000;
        TestMember member = Leader(out Term term, static c => c with { InflightBytesMax = bound, BytesPerMessageMax = 1000 });
        Answer(member, Two, term);
        Answer(member, Three, term);
        member.Outbox.Clear();
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(ProposeResult.Accepted, member.Node.Propose(new byte[900]));
            member.Pump();
        }

        long Sent(MemberId to) => member.Outbox.OfType<AppendRequest>().Where(a => a.To == to).Sum(static a => a.Entries.Sum(static e => (long)e.Data.Length));
        Assert.InRange(Sent(Two), bound - 900, bound + 900);
        Answer(member, Two, term);
        Assert.InRange(Sent(Two), (2 * bound) - 1800, (2 * bound) + 1800);
        Assert.InRange(Sent(Three), bound - 900, bound + 900);
    }

    private static TestMember Founder(Func<RaftConfig, RaftConfig>? configure = null)
    {
        TestMember member = new(One, new Prng(7), [One, Two, Three], slowDisk: false, c => (configure ?? (static x => x))(c with { PreVote = false }));
        member.Outbox.Clear();
        return member;
    }

    private static TestMember Candidate(Func<RaftConfig, RaftConfig>? configure = null)
    {
        TestMember member = Founder(configure);
        member.Node.Campaign();
        member.Pump();
        Assert.Equal(Role.Candidate, member.Node.Role);
        return member;
    }

    private static TestMember Leader(out Term term, Func<RaftConfig, RaftConfig>? configure = null)
    {
        TestMember member = Candidate(configure);
        term = member.Node.Term;
        member.Node.Step(new VoteResponse(Two, One, term, PreVote: false, Granted: true));
        Assert.Equal(Role.Leader, member.Node.Role);
        member.Pump();
        return member;
    }

    /// <summary>The follower has all that it was sent.</summary>
    private static void Answer(TestMember leader, MemberId from, Term term)
    {
        AppendRequest? last = leader.Outbox.OfType<AppendRequest>().LastOrDefault(a => a.To == from && a.Entries.Count > 0);
        leader.Node.Step(new AppendResponse(from, One, term, true, last?.Entries[^1].Index ?? leader.Node.LastIndex, default));
        leader.Pump();
    }

    private static void Tick(TestMember member, int times)
    {
        for (int i = 0; i < times; i++)
        {
            member.Node.Tick();
            member.Pump();
        }
    }

    private static LogPosition Last(TestMember member) => member.Node.Status().Last;

    private static IReadOnlyList<Entry> Entries(LogPosition after, Term term, int count) =>
        [.. Enumerable.Range(1, count).Select(i => new Entry(after.Index + (ulong)i, term, EntryKind.Normal, new byte[] { (byte)i }))];

    private static void Append(TestMember member, Term term, LogPosition previous, IReadOnlyList<Entry> entries)
    {
        member.Node.Step(new AppendRequest(Two, One, term, previous, LogIndex.Zero, entries));
        member.Pump();
    }

    private static SnapshotMetadata? Taken(TestMember member) => member.Node.HasReady ? member.Node.TakeReady().Snapshot : null;
}

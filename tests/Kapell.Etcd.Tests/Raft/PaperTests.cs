using System.Text;
using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>One sentence of the Raft paper (or of Ongaro's thesis) each, with its section.</summary>
public sealed class PaperTests
{
    // §5.1: "If one server's current term is smaller than the other's, then it updates its current term to the larger value."
    [Theory]
    [InlineData(Role.Follower)]
    [InlineData(Role.Leader)]
    public void A_newer_term_in_a_message_is_followed(Role role)
    {
        TestNetwork network = new(3, seed: 1);
        TestMember leader = network.Elect();
        TestMember member = network.Members.First(m => (m.Node.Role == Role.Leader) == (role == Role.Leader));
        Term newer = new(leader.Node.Term.Value + 5);
        MemberId other = network.Members.First(m => m != member).Id;
        member.Node.Step(new AppendRequest(other, member.Id, newer, default, LogIndex.Zero, []));
        Assert.Equal(newer, member.Node.Term);
        Assert.Equal(Role.Follower, member.Node.Role);
        Assert.Equal(other, member.Node.Leader);
    }

    // §5.1: "If a server receives a request with a stale term number, it rejects the request."
    /// <summary>Both living members of three ask at the same time, both are encouraged, and each votes for itself (§5.2, "split vote").</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void A_split_vote_is_over_long_before_an_election_timeout(ulong seed)
    {
        TestNetwork network = new(3, seed);
        network.Elect();
        network.Isolate((int)network.Leader!.Id.Value);
        TestMember[] others = [.. network.Members.Where(m => m != network.Leader)];
        MemberId dead = network.Leader.Id;
        foreach (TestMember other in others)
        {
            other.Node.ReportDisconnected(dead);
            other.Node.Campaign();
        }

        network.Settle();
        Assert.All(others, static m => Assert.Equal(Role.Candidate, m.Node.Role));
        for (int ticks = 0; ticks < 9 && others.All(static m => m.Node.Role != Role.Leader); ticks++)
        {
            // One after the other, as in life.
            foreach (TestMember other in others)
            {
                other.Node.Tick();
                network.Settle();
            }
        }

        Assert.Contains(others, static m => m.Node.Role == Role.Leader);
    }

    [Fact]
    public void A_request_of_an_older_term_changes_nothing_and_is_answered_with_ours()
    {
        TestNetwork network = new(3, seed: 2);
        network.Elect();
        TestMember follower = network.Members.First(m => m.Node.Role == Role.Follower);
        LogIndex last = follower.Node.LastIndex;
        MemberId stale = network.Members.First(m => m != follower).Id;
        Entry entry = new(last.Next(), new Term(1), EntryKind.Normal, "x"u8.ToArray());
        follower.Node.Step(new AppendRequest(stale, follower.Id, new Term(1), new LogPosition(new Term(1), last), LogIndex.Zero, [entry]));
        follower.Pump();
        Assert.Equal(last, follower.Node.LastIndex);
        AppendResponse answer = Assert.IsType<AppendResponse>(follower.Outbox[^1]);
        Assert.False(answer.Accepted);
        Assert.Equal(follower.Node.Term, answer.Term);
    }

    // §5.2: "To begin an election, a follower increments its current term [...] votes for itself and issues RequestVote RPCs".
    [Fact]
    public void A_follower_that_hears_nothing_campaigns_within_twice_the_election_timeout()
    {
        TestNetwork network = new(3, seed: 3, configure: static c => c with { PreVote = false });
        TestMember member = network[1];
        Term before = member.Node.Term;
        int ticks = 0;
        while (member.Node.Role == Role.Follower)
        {
            member.Node.Tick();
            ticks++;
        }

        member.Pump();
        Assert.InRange(ticks, 10, 19);
        Assert.Equal(before.Next(), member.Node.Term);
        Assert.Equal(2, member.Outbox.OfType<VoteRequest>().Count(r => r.Term == member.Node.Term && !r.PreVote));
    }

    // §5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis".
    [Fact]
    public void Only_the_first_candidate_of_a_term_gets_the_vote_and_again_when_it_asks_again()
    {
        TestMember voter = new TestNetwork(3, seed: 4)[1];
        Term term = new(7);
        LogPosition last = new(new Term(6), new LogIndex(50));
        bool Ask(int candidate)
        {
            voter.Node.Step(new VoteRequest(new MemberId((ulong)candidate), voter.Id, term, last, false, false));
            voter.Pump();
            return Assert.IsType<VoteResponse>(voter.Outbox[^1]).Granted;
        }

        Assert.True(Ask(2));
        Assert.False(Ask(3));
        Assert.True(Ask(2));
        voter.Restart();
        Assert.False(Ask(3));
    }

    // Figure 2: "Persistent state on all servers (Updated on stable storage before responding to RPCs)".
    [Fact]
    public void A_vote_is_only_sent_when_it_is_on_the_disk()
    {
        TestMember voter = new TestNetwork(3, seed: 5, slowDisk: true)[1];
        LogPosition last = new(new Term(6), new LogIndex(50));
        voter.Node.Step(new VoteRequest(new MemberId(2), voter.Id, new Term(7), last, false, false));
        Assert.True(voter.Node.HasReady);
        Ready ready = voter.Node.TakeReady();
        Assert.Empty(ready.Messages);
        Assert.True(ready.MustSync);
        Assert.Equal(new MemberId(2), ready.HardState!.Value.Vote);
        Assert.IsType<VoteResponse>(Assert.Single(ready.MessagesAfterPersist));
    }

    // §5.2: "Because of randomized election timeouts, split votes are rare and are resolved quickly".
    [Fact]
    public void Election_timeouts_differ_between_members_and_terms()
    {
        HashSet<int> seen = [];
        for (ulong seed = 0; seed < 50; seed++)
        {
            TestMember member = new TestNetwork(3, seed)[1];
            int ticks = 0;
            while (member.Node.Role == Role.Follower)
            {
                member.Node.Tick();
                ticks++;
            }

            seen.Add(ticks);
        }

        Assert.True(seen.Count >= 8, $"only {seen.Count} different timeouts in 50");
    }

    // §5.3: "the leader applies the entry to its state machine [...] once it has been safely replicated".
    [Fact]
    public void An_entry_is_committed_when_a_majority_has_it_on_disk_and_followers_learn_of_it()
    {
        TestNetwork network = new(3, seed: 6);
        TestMember leader = network.Elect();
        network.Isolate((int)network.Members.Last(m => m != leader).Id.Value);
        network.Propose("a");
        Assert.Contains("a", leader.AppliedTexts);
        network.Tick(2);
        Assert.Equal(2, network.Members.Count(m => m.AppliedTexts.Contains("a")));
    }

    // §5.3: "If a follower's log is inconsistent with the leader's, the AppendEntries consistency check will fail [...]".
    [Fact]
    public void A_follower_refuses_entries_after_one_that_it_does_not_have_and_says_where_to_look()
    {
        TestNetwork network = new(3, seed: 7);
        TestMember leader = network.Elect();
        TestMember follower = network.Members.First(m => m != leader);
        LogPosition beyond = new(leader.Node.Term, follower.Node.LastIndex + 100);
        follower.Node.Step(new AppendRequest(leader.Id, follower.Id, leader.Node.Term, beyond, LogIndex.Zero, []));
        follower.Pump();
        AppendResponse answer = Assert.IsType<AppendResponse>(follower.Outbox[^1]);
        Assert.False(answer.Accepted);
        Assert.Equal(follower.Node.LastIndex, answer.Hint.Index);
    }

    // §5.3: "the leader handles inconsistencies by forcing the followers' logs to duplicate its own."
    [Fact]
    public void Entries_that_were_never_committed_give_way_to_those_of_the_new_leader()
    {
        TestNetwork network = new(3, seed: 8);
        TestMember old = network.Elect();
        network.Isolate((int)old.Id.Value);
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal(ProposeResult.Accepted, old.Node.Propose(Encoding.UTF8.GetBytes($"lost{i}")));
        }

        network.Tick(60);
        network.Propose("kept");
        network.Heal();
        network.Tick(30);
        network.CheckConverged();
        Assert.DoesNotContain(old.AppliedTexts, t => t.StartsWith("lost", StringComparison.Ordinal));
        Assert.Contains("kept", old.AppliedTexts);
    }

    // §5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate."
    [Theory]
    [InlineData(1UL, 100UL, false)]
    [InlineData(2UL, 4UL, false)]
    [InlineData(2UL, 5UL, true)]
    [InlineData(3UL, 1UL, true)]
    public void A_vote_needs_a_log_at_least_as_complete(ulong lastTerm, ulong lastIndex, bool granted)
    {
        RaftStart start = new()
        {
            HardState = new HardState(new Term(2), MemberId.None, new LogIndex(0)),
            Snapshot = new SnapshotMetadata(default, ConfState.Of(new MemberId(1), new MemberId(2))),
            Entries = [.. Enumerable.Range(1, 5).Select(i =>
                new Entry(new LogIndex((ulong)i), new Term(i < 3 ? 1UL : 2UL), EntryKind.Normal, default))],
        };
        RaftNode node = new(new RaftConfig { Id = new MemberId(1), Prng = new Prng(1) }, start);
        LogPosition last = new(new Term(lastTerm), new LogIndex(lastIndex));
        node.Step(new VoteRequest(new MemberId(2), new MemberId(1), new Term(4), last, false, false));
        Ready ready = node.TakeReady();
        Assert.Equal(granted, Assert.IsType<VoteResponse>(Assert.Single(ready.MessagesAfterPersist)).Granted);
    }

    // §5.4.2: "Raft never commits log entries from previous terms by counting replicas."
    [Fact]
    public void Entries_of_earlier_terms_are_committed_only_with_one_of_the_leaders_own()
    {
        MemberId self = new(1);
        MemberId other = new(2);
        RaftStart start = new()
        {
            HardState = new HardState(new Term(1), MemberId.None, LogIndex.Zero),
            Snapshot = new SnapshotMetadata(default, ConfState.Of(self, other, new MemberId(3))),
            Entries = [new Entry(new LogIndex(1), new Term(1), EntryKind.Normal, "old"u8.ToArray())],
        };
        RaftNode node = new(new RaftConfig { Id = self, Prng = new Prng(1), PreVote = false }, start);
        node.Campaign();
        node.Persisted(node.TakeReady().Number);
        node.Step(new VoteResponse(other, self, node.Term, false, true));
        Assert.Equal(Role.Leader, node.Role);
        node.Persisted(node.TakeReady().Number);
        node.Step(new AppendResponse(other, self, node.Term, true, new LogIndex(1), default));
        Assert.Equal(LogIndex.Zero, node.Committed);
        node.Step(new AppendResponse(other, self, node.Term, true, new LogIndex(2), default));
        Assert.Equal(new LogIndex(2), node.Committed);
    }

    // §6: "if a server receives a RequestVote RPC within the minimum election timeout of hearing from a current leader, it does not
    // update its term or grant its vote."
    [Fact]
    public void A_member_that_hears_its_leader_ignores_candidates_unless_the_leader_sent_them()
    {
        TestNetwork network = new(3, seed: 9);
        TestMember leader = network.Elect();
        TestMember follower = network.Members.First(m => m != leader);
        TestMember candidate = network.Members.First(m => m != leader && m != follower);
        Term term = leader.Node.Term;
        LogPosition last = new(term, new LogIndex(100));
        follower.Node.Step(new VoteRequest(candidate.Id, follower.Id, new Term(term.Value + 1), last, false, false));
        Assert.Equal(term, follower.Node.Term);
        follower.Node.Step(new VoteRequest(candidate.Id, follower.Id, new Term(term.Value + 1), last, false, ByTransfer: true));
        Assert.Equal(new Term(term.Value + 1), follower.Node.Term);
    }

    // §8 and thesis §6.4: a leader that was deposed without knowing it must not answer reads.
    [Fact]
    public void A_read_is_confirmed_by_a_majority_and_a_leader_that_is_cut_off_confirms_none()
    {
        TestNetwork network = new(3, seed: 10);
        TestMember leader = network.Elect();
        network.Propose("a");
        Assert.True(leader.Node.ReadIndex(77));
        network.Settle();
        Assert.Equal(new ReadState(77, leader.Node.Committed), Assert.Single(leader.Reads));
        network.Isolate((int)leader.Id.Value);
        leader.Node.ReadIndex(78);
        network.Settle();
        Assert.Single(leader.Reads);
    }

    // Thesis §6.4: "the leader can use a single round of heartbeats for any number of read-only queries that it has accumulated".
    [Fact]
    public void Reads_that_come_during_a_round_share_the_next()
    {
        TestNetwork network = new(3, seed: 15);
        TestMember leader = network.Elect();
        network.Propose("a");
        network.Carried.Clear();
        for (ulong read = 1; read <= 10; read++)
        {
            Assert.True(leader.Node.ReadIndex(read));
        }

        network.Settle();
        Assert.Equal([.. Enumerable.Range(1, 10).Select(static i => (ulong)i)], leader.Reads.Select(static r => r.Context));
        Assert.Equal(2 * 2, network.Carried.Count(static m => m is Heartbeat));
    }

    // The same: none of them is confirmed by an answer to what was sent before it came, and a lost round delays them to the clock's next.
    [Fact]
    public void Reads_behind_a_round_that_is_lost_go_with_the_next_heartbeat_of_the_clock()
    {
        TestNetwork network = new(3, seed: 16);
        TestMember leader = network.Elect();
        network.Propose("a");
        network.Isolate((int)leader.Id.Value);
        leader.Node.ReadIndex(1);
        network.Settle();
        leader.Node.ReadIndex(2);
        network.Settle();
        network.Heal();
        network.Settle();
        Assert.Empty(leader.Reads);
        network.Tick(2);
        Assert.Equal([1UL, 2UL], leader.Reads.Select(static r => r.Context));
    }

    // Thesis §6.4: "Followers [...] can ask the leader for a current readIndex".
    [Fact]
    public void A_follower_reads_through_its_leader()
    {
        TestNetwork network = new(3, seed: 11);
        TestMember leader = network.Elect();
        network.Propose("a");
        TestMember follower = network.Members.First(m => m != leader);
        Assert.True(follower.Node.ReadIndex(5));
        network.Settle();
        Assert.Equal(new ReadState(5, leader.Node.Committed), Assert.Single(follower.Reads));
    }

    // Thesis §6.2: "a leader [...] steps down if an election timeout elapses without a successful round of heartbeats".
    [Fact]
    public void Leader_steps_down_when_quorum_is_silent_for_an_election_timeout()
    {
        TestNetwork network = new(3, seed: 12);
        TestMember leader = network.Elect();
        network.Isolate((int)leader.Id.Value);
        network.Tick(21);
        Assert.NotEqual(Role.Leader, leader.Node.Role);
    }

    // Thesis §9.6: a member that was cut off does not disturb the cluster when it comes back.
    [Fact]
    public void With_pre_vote_a_member_that_was_cut_off_comes_back_without_a_new_term()
    {
        TestNetwork network = new(3, seed: 13);
        TestMember leader = network.Elect();
        Term term = leader.Node.Term;
        TestMember away = network.Members.First(m => m != leader);
        network.Isolate((int)away.Id.Value);
        network.Tick(100);
        network.Heal();
        network.Tick(30);
        Assert.Equal(term, leader.Node.Term);
        Assert.Equal(Role.Leader, leader.Node.Role);
    }

    // Thesis §3.10.
    [Fact]
    public void Leadership_is_handed_over_without_waiting_for_a_timeout()
    {
        TestNetwork network = new(3, seed: 14);
        TestMember leader = network.Elect();
        TestMember successor = network.Members.First(m => m != leader);
        leader.Node.TransferLeadership(successor.Id);
        network.Settle();
        Assert.Equal(Role.Leader, successor.Node.Role);
        Assert.Equal(Role.Follower, leader.Node.Role);
        network.Propose("on");
    }

    // §7: "the leader must occasionally send snapshots to followers that lag behind."
    [Fact]
    public void A_follower_behind_the_log_is_sent_a_checkpoint_and_then_entries()
    {
        TestNetwork network = new(3, seed: 15);
        TestMember leader = network.Elect();
        TestMember away = network.Members.First(m => m != leader);
        network.Isolate((int)away.Id.Value);
        for (int i = 0; i < 50; i++)
        {
            network.Propose($"v{i}");
        }

        leader.Checkpoint(keep: 2);
        Assert.True(leader.Node.FirstIndex > away.Node.LastIndex);
        network.Propose("tail");
        network.Heal();
        network.Tick(40);
        network.CheckConverged();
        Assert.Contains("tail", away.AppliedTexts);
    }
}

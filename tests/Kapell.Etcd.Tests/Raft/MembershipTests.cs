using Kapell.Base;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

public sealed class MembershipTests
{
    [Fact]
    public void A_single_member_elects_itself_commits_and_finds_everything_again()
    {
        TestNetwork network = new(1, seed: 1);
        network[1].Node.Campaign();
        network.Settle();
        network.Propose("a");
        network.Propose("b");
        network[1].Restart();
        network[1].Node.Campaign();
        network.Settle();
        Assert.Equal(["a", "b"], network[1].AppliedTexts);
    }

    [Fact]
    public void A_single_member_reads_only_after_it_has_committed_in_its_term()
    {
        TestNetwork network = new(1, seed: 2);
        network[1].Node.Campaign();
        network.Settle();
        network.Propose("a");
        LogIndex acknowledged = network[1].Node.Committed;
        network[1].Restart();
        network[1].Node.Campaign();
        network.Settle();
        Assert.True(network[1].Node.ReadIndex(1));
        network.Settle();
        Assert.True(Assert.Single(network[1].Reads).Index > acknowledged);
    }

    [Fact]
    public void A_single_member_commits_nothing_before_its_disk_has_it()
    {
        TestNetwork network = new(1, seed: 3);
        RaftNode node = network[1].Node;
        node.Campaign();
        network.Settle();
        LogIndex before = node.Committed;
        node.Propose(new byte[] { 1 });
        Ready ready = node.TakeReady();
        Assert.True(ready.MustSync);
        Assert.Single(ready.Entries);
        Assert.Empty(ready.Committed);
        Assert.Equal(before, node.Committed);
        node.Persisted(ready.Number);
        Assert.Single(node.TakeReady().Committed);
    }

    [Fact]
    public void A_learner_gets_the_log_does_not_vote_and_can_be_promoted()
    {
        TestNetwork network = new(1, seed: 4);
        network[1].Node.Campaign();
        network.Settle();
        network.Propose("a");
        Change(network, ConfChange.Of(ConfChangeKind.AddLearner, new MemberId(2)));
        TestMember learner = network.Join(2);
        network.Tick(5);
        Assert.Contains("a", learner.AppliedTexts);
        network.Isolate(2);
        network.Propose("alone");
        Assert.Contains("alone", network[1].AppliedTexts);
        network.Heal();
        network.Tick(20);
        Change(network, ConfChange.Of(ConfChangeKind.AddVoter, new MemberId(2)));
        network.Tick(5);
        Assert.Equal(2, learner.Node.ConfState.Voters.Length);
        network.Isolate(2);
        network.Leader!.Node.Propose(new byte[] { 1 });
        network.Settle();
        Assert.True(network[1].Node.Committed < network[1].Node.LastIndex);
    }

    [Fact]
    public void A_second_change_is_refused_until_the_first_is_applied()
    {
        TestNetwork network = new(3, seed: 5, slowDisk: true);
        TestMember leader = network.Elect();
        Assert.Equal(ProposeResult.Accepted, leader.Node.ProposeConfChange(ConfChange.Of(ConfChangeKind.AddLearner, new MemberId(9))));
        Assert.Equal(
            ProposeResult.ConfChangePending,
            leader.Node.ProposeConfChange(ConfChange.Of(ConfChangeKind.AddLearner, new MemberId(8))));
        network.Settle();
        Assert.Equal(ProposeResult.Accepted, leader.Node.ProposeConfChange(ConfChange.Of(ConfChangeKind.AddLearner, new MemberId(8))));
    }

    [Fact]
    public void A_leader_that_is_removed_steps_down_and_the_others_go_on()
    {
        TestNetwork network = new(3, seed: 6);
        TestMember leader = network.Elect();
        Change(network, ConfChange.Of(ConfChangeKind.Remove, leader.Id));
        Assert.Equal(Role.Follower, leader.Node.Role);
        network.Members.Remove(leader);
        network.Tick(60);
        network.Elect();
        network.Propose("on");
        Assert.All(network.Members, m => Assert.Equal(2, m.Node.ConfState.Voters.Length));
    }

    [Fact]
    public void Several_voters_are_replaced_through_a_joint_configuration_that_is_left_by_itself()
    {
        TestNetwork network = new(3, seed: 7);
        network.Elect();
        network.Join(4);
        network.Join(5);
        MemberId gone = network.Members.First(m => m != network.Leader).Id;
        ConfChangeStep[] steps =
        [
            new(ConfChangeKind.AddVoter, new MemberId(4)),
            new(ConfChangeKind.AddVoter, new MemberId(5)),
            new(ConfChangeKind.Remove, gone),
        ];
        Change(network, new ConfChange(steps, ConfChangeTransition.Auto, default));
        network.Members.RemoveAll(m => m.Id == gone);
        network.Tick(40);
        network.Elect();
        network.Propose("new");
        network.Tick(5);
        Assert.All(network.Members, m => Assert.False(m.Node.ConfState.IsJoint));
        Assert.All(network.Members, m => Assert.Equal(4, m.Node.ConfState.Voters.Length));
        network.CheckConverged();
    }

    [Fact]
    public void The_last_voter_cannot_be_removed()
    {
        TestNetwork network = new(1, seed: 8);
        network[1].Node.Campaign();
        network.Settle();
        Assert.Equal(
            ProposeResult.ConfChangeInvalid,
            network[1].Node.ProposeConfChange(ConfChange.Of(ConfChangeKind.Remove, new MemberId(1))));
    }

    [Fact]
    public void Proposals_are_refused_while_too_many_bytes_wait()
    {
        TestNetwork network = new(3, seed: 9, configure: static c => c with { UncommittedBytesMax = 100 });
        TestMember leader = network.Elect();
        network.Isolate((int)leader.Id.Value);
        Assert.Equal(ProposeResult.Accepted, leader.Node.Propose(new byte[80]));
        Assert.Equal(ProposeResult.TooManyUncommitted, leader.Node.Propose(new byte[80]));
        network.Heal();
        network.Tick(5);
        Assert.Equal(ProposeResult.Accepted, leader.Node.Propose(new byte[80]));
    }

    [Fact]
    public void Messages_that_no_member_can_have_made_are_refused()
    {
        TestNetwork network = new(3, seed: 10);
        TestMember member = network[1];
        Term term = new(9);
        Entry gap = new(new LogIndex(50), term, EntryKind.Normal, default);
        Assert.Equal(
            StepResult.Malformed,
            member.Node.Step(new AppendRequest(new MemberId(2), member.Id, term, default, LogIndex.Zero, [gap])));
        Assert.Equal(StepResult.Malformed, member.Node.Step(new TimeoutNow(new MemberId(2), new MemberId(3), term)));
        Assert.Equal(
            StepResult.NotMember, member.Node.Step(new HeartbeatResponse(new MemberId(99), member.Id, term, 0)));
        Assert.NotEqual(term, member.Node.Term);
    }

    /// <summary>Found by the fuzzer: the next election counted beyond the last term there is, and the member ended.</summary>
    [Fact]
    public void A_term_or_an_index_that_no_cluster_can_have_come_to_is_refused()
    {
        TestNetwork network = new(3, seed: 10);
        TestMember member = network[1];
        (MemberId from, Term term) = (new MemberId(2), new Term(9));
        LogIndex last = new(ulong.MaxValue);
        LogPosition end = new(term, last);
        Message[] wrong =
        [
            new TimeoutNow(from, member.Id, new Term(ulong.MaxValue)), new VoteRequest(from, member.Id, new Term(1UL << 40), default, false, false),
            new AppendRequest(from, member.Id, term, end, LogIndex.Zero, [new Entry(LogIndex.Zero, term, EntryKind.Normal, default)]),
            new AppendRequest(from, member.Id, term, default, last, []), new Heartbeat(from, member.Id, term, last, 0),
            new AppendResponse(from, member.Id, term, true, last, default), new AppendResponse(from, member.Id, term, false, LogIndex.Zero, end),
            new ReadIndexResponse(from, member.Id, term, 1, last),
        ];
        Assert.All(wrong, m => Assert.Equal(StepResult.Malformed, member.Node.Step(m)));
        Assert.True(member.Node.Term < term);
        member.Node.Campaign();
    }

    private static void Change(TestNetwork network, ConfChange change)
    {
        Assert.Equal(ProposeResult.Accepted, network.Leader!.Node.ProposeConfChange(change));
        network.Settle();
    }
}

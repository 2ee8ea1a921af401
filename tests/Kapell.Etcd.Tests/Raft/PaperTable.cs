using System.Reflection;
using Xunit;

namespace Kapell.Etcd.Tests.Raft;

/// <summary>
/// The rules of the Raft paper (extended version) and of Ongaro's thesis, each with the test that shows it. A rule is given in a few words
/// of ours; the section says where the sentence stands.
/// </summary>
public sealed class PaperTable
{
    private static readonly (string Section, string Rule, Type Tests, string Test)[] Rules =
    [
        ("Figure 2, state", "term and vote are on the disk before they are spoken of", typeof(PaperTests), nameof(PaperTests.A_vote_is_only_sent_when_it_is_on_the_disk)),
        ("Figure 2, all servers; §5.1", "a newer term is followed", typeof(PaperTests), nameof(PaperTests.A_newer_term_in_a_message_is_followed)),
        ("Figure 2, AppendEntries 1, RequestVote 1; §5.1", "an older term is refused", typeof(PaperTests), nameof(PaperTests.A_request_of_an_older_term_changes_nothing_and_is_answered_with_ours)),
        ("Figure 2, AppendEntries 2; §5.3", "entries after one that is not here are refused", typeof(PaperTests), nameof(PaperTests.A_follower_refuses_entries_after_one_that_it_does_not_have_and_says_where_to_look)),
        ("Figure 2, AppendEntries 3; §5.3", "a conflict deletes what stands there and behind", typeof(PaperRulesTests), nameof(PaperRulesTests.The_first_entry_that_differs_takes_all_behind_it_with_it)),
        ("Figure 2, AppendEntries 3, 4", "only a conflict deletes", typeof(PaperRulesTests), nameof(PaperRulesTests.A_request_whose_entries_are_all_there_shortens_nothing)),
        ("Figure 2, AppendEntries 5", "commit goes no further than the last new entry", typeof(PaperRulesTests), nameof(PaperRulesTests.What_lies_beyond_the_last_new_entry_is_not_committed_by_it)),
        ("Figure 2, RequestVote 2; §5.2", "one vote a term", typeof(PaperTests), nameof(PaperTests.Only_the_first_candidate_of_a_term_gets_the_vote_and_again_when_it_asks_again)),
        ("Figure 2, RequestVote 2; §5.4.1", "no vote for a log that lacks something", typeof(PaperTests), nameof(PaperTests.A_vote_needs_a_log_at_least_as_complete)),
        ("Figure 2, followers; §5.2", "silence makes a candidate", typeof(PaperTests), nameof(PaperTests.A_follower_that_hears_nothing_campaigns_within_twice_the_election_timeout)),
        ("Figure 2, followers", "a vote given begins the timeout anew", typeof(PaperRulesTests), nameof(PaperRulesTests.Granting_a_vote_begins_the_election_timeout_anew)),
        ("Figure 2, followers", "a word of the leader begins the timeout anew", typeof(PaperRulesTests), nameof(PaperRulesTests.Hearing_the_leader_begins_the_election_timeout_anew)),
        ("Figure 2, candidates; §5.2", "a leader of the same term is followed", typeof(PaperRulesTests), nameof(PaperRulesTests.A_candidate_that_hears_a_leader_of_its_term_follows_it)),
        ("§5.2", "a leader of an older term is not", typeof(PaperRulesTests), nameof(PaperRulesTests.A_candidate_that_hears_a_leader_of_an_older_term_goes_on)),
        ("Figure 2, candidates; §5.2", "without a majority: again, in a newer term", typeof(PaperRulesTests), nameof(PaperRulesTests.A_candidate_without_a_majority_tries_again_in_a_newer_term)),
        ("Figure 2, candidates; §5.2", "votes of one term make the majority", typeof(PaperRulesTests), nameof(PaperRulesTests.A_vote_of_an_earlier_term_does_not_count)),
        ("Figure 2, candidates; §5.2, §6", "a majority of all voters, of both sets while joint", typeof(QuorumModelTests), nameof(QuorumModelTests.An_election_is_won_by_the_votes_that_a_slow_count_says)),
        ("§5.2", "timeouts are random", typeof(PaperTests), nameof(PaperTests.Election_timeouts_differ_between_members_and_terms)),
        ("Figure 2, leaders; §8", "a new leader speaks at once, with an empty entry, and goes on", typeof(PaperRulesTests), nameof(PaperRulesTests.A_new_leader_speaks_at_once_with_an_empty_entry_and_then_in_every_interval)),
        ("Figure 2, leaders; §5.3", "an entry that a majority has is committed and told of", typeof(PaperTests), nameof(PaperTests.An_entry_is_committed_when_a_majority_has_it_on_disk_and_followers_learn_of_it)),
        ("Figure 2, leaders; §5.3, §6", "committed is what a majority has, of both sets while joint", typeof(QuorumModelTests), nameof(QuorumModelTests.What_is_committed_is_what_a_slow_count_says)),
        ("Figure 2, leaders; §5.3", "a follower's log becomes the leader's", typeof(PaperTests), nameof(PaperTests.Entries_that_were_never_committed_give_way_to_those_of_the_new_leader)),
        ("§5.3", "what was lost is sent again", typeof(PaperRulesTests), nameof(PaperRulesTests.What_was_lost_is_sent_again_until_it_arrives)),
        ("Figure 2, leaders; §5.4.2", "earlier terms are not committed by counting", typeof(PaperTests), nameof(PaperTests.Entries_of_earlier_terms_are_committed_only_with_one_of_the_leaders_own)),
        ("§5.4.3, figure 3", "the five properties, under loss, crashes and slow disks", typeof(RandomNetworkTests), nameof(RandomNetworkTests.Promises_hold_under_loss_reorder_crashes_and_slow_disks_and_the_cluster_recovers)),
        ("§6", "new members learn before they vote", typeof(MembershipTests), nameof(MembershipTests.A_learner_gets_the_log_does_not_vote_and_can_be_promoted)),
        ("§6", "two sets of voters, and the way out of them", typeof(MembershipTests), nameof(MembershipTests.Several_voters_are_replaced_through_a_joint_configuration_that_is_left_by_itself)),
        ("§6; thesis §4.1", "majorities before and after a change meet", typeof(QuorumModelTests), nameof(QuorumModelTests.Majorities_before_and_after_any_change_meet)),
        ("Thesis §4.1", "one change at a time", typeof(MembershipTests), nameof(MembershipTests.A_second_change_is_refused_until_the_first_is_applied)),
        ("§6; thesis §4.2.2", "a leader that is removed steps down", typeof(MembershipTests), nameof(MembershipTests.A_leader_that_is_removed_steps_down_and_the_others_go_on)),
        ("§6", "who hears a leader gives no vote", typeof(PaperTests), nameof(PaperTests.A_member_that_hears_its_leader_ignores_candidates_unless_the_leader_sent_them)),
        ("§7", "who lags behind the log gets a snapshot", typeof(PaperTests), nameof(PaperTests.A_follower_behind_the_log_is_sent_a_checkpoint_and_then_entries)),
        ("§7", "a snapshot of a prefix keeps what follows", typeof(PaperRulesTests), nameof(PaperRulesTests.A_checkpoint_of_a_prefix_of_the_log_keeps_what_follows)),
        ("§7", "any other snapshot replaces the log", typeof(PaperRulesTests), nameof(PaperRulesTests.A_checkpoint_beyond_the_log_replaces_it)),
        ("§7, figure 13", "an old snapshot is old news", typeof(PaperRulesTests), nameof(PaperRulesTests.A_checkpoint_of_the_past_changes_nothing)),
        ("§8; thesis §6.4", "a read is confirmed by a majority", typeof(PaperTests), nameof(PaperTests.A_read_is_confirmed_by_a_majority_and_a_leader_that_is_cut_off_confirms_none)),
        ("§8; thesis §6.4", "a new leader reads only after it has committed in its term", typeof(MembershipTests), nameof(MembershipTests.A_single_member_reads_only_after_it_has_committed_in_its_term)),
        ("Thesis §6.4", "a follower reads through its leader", typeof(PaperTests), nameof(PaperTests.A_follower_reads_through_its_leader)),
        ("Thesis §6.2", "a leader that no majority answers steps down", typeof(PaperTests), nameof(PaperTests.Leader_steps_down_when_quorum_is_silent_for_an_election_timeout)),
        ("Thesis §9.6", "who comes back disturbs nobody", typeof(PaperTests), nameof(PaperTests.With_pre_vote_a_member_that_was_cut_off_comes_back_without_a_new_term)),
        ("Thesis §3.10", "leadership is handed over", typeof(PaperTests), nameof(PaperTests.Leadership_is_handed_over_without_waiting_for_a_timeout)),
        ("Thesis §10.2.1", "what is on its way has a bound", typeof(PaperRulesTests), nameof(PaperRulesTests.A_follower_that_does_not_answer_is_sent_no_more_than_the_bound)),
        ("etcd-io/raft", "what waits for its commit has a bound", typeof(MembershipTests), nameof(MembershipTests.Proposals_are_refused_while_too_many_bytes_wait)),
    ];

    [Fact]
    public void Every_rule_has_a_test()
    {
        foreach ((string section, string rule, Type tests, string test) in Rules)
        {
            MethodInfo? method = tests.GetMethod(test);
            Assert.True(method?.GetCustomAttributes<FactAttribute>().Any() == true, $"{section}, {rule}: {tests.Name}.{test} is no test");
        }

        Assert.Equal(Rules.Length, Rules.Select(static r => (r.Tests, r.Test)).Distinct().Count());
    }
}

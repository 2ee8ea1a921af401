using System.Collections.Immutable;

namespace Kapell.Raft;

/// <summary>Computes the configuration after a change, or says why the change is impossible (etcd-io/raft: confchange).</summary>
internal static class ConfChanger
{
    /// <summary>Null and a new configuration, or the reason of the refusal and <paramref name="next"/> as it was.</summary>
    public static string? TryApply(ConfState current, ConfChange change, out ConfState next)
    {
        next = current;
        if (change.IsLeaveJoint)
        {
            if (!current.IsJoint)
            {
                return "not in a joint configuration";
            }

            next = current with
            {
                VotersOutgoing = [],
                Learners = Sorted(current.Learners.Concat(current.LearnersNext)),
                LearnersNext = [],
                AutoLeave = false,
            };
            return null;
        }

        if (current.IsJoint)
        {
            return "must leave the joint configuration first";
        }

        if (change.Steps.Any(s => s.Member.IsNone))
        {
            return "the member must not be zero";
        }

        return change.EntersJoint ? EnterJoint(current, change, out next) : Simple(current, change, out next);
    }

    private static string? EnterJoint(ConfState current, ConfChange change, out ConfState next)
    {
        next = current;
        if (current.Voters.IsEmpty)
        {
            return "a configuration without voters cannot become joint";
        }

        ConfState after = WithSteps(current with { VotersOutgoing = current.Voters }, change.Steps);
        if (after.Voters.IsEmpty)
        {
            return "removed all voters";
        }

        next = after with { AutoLeave = change.Transition != ConfChangeTransition.JointExplicit };
        return null;
    }

    private static string? Simple(ConfState current, ConfChange change, out ConfState next)
    {
        next = current;
        ConfState after = WithSteps(current, change.Steps);
        if (after.Voters.IsEmpty)
        {
            return "removed all voters";
        }

        // Majorities of two sets that differ in one member always meet (thesis §4.1).
        int changed = after.Voters.Except(current.Voters).Count() + current.Voters.Except(after.Voters).Count();
        if (changed > 1)
        {
            return "more than one voter changed without entering joint config";
        }

        next = after;
        return null;
    }

    private static ConfState WithSteps(ConfState state, IReadOnlyList<ConfChangeStep> steps)
    {
        SortedSet<MemberId> voters = [.. state.Voters];
        SortedSet<MemberId> learners = [.. state.Learners];
        SortedSet<MemberId> learnersNext = [.. state.LearnersNext];
        foreach ((ConfChangeKind kind, MemberId member) in steps)
        {
            if (kind == ConfChangeKind.AddLearner && learners.Contains(member))
            {
                continue;
            }

            voters.Remove(member);
            learners.Remove(member);
            learnersNext.Remove(member);
            switch (kind)
            {
                case ConfChangeKind.AddVoter:
                    voters.Add(member);
                    break;
                case ConfChangeKind.AddLearner when state.VotersOutgoing.Contains(member):
                    // Still a voter of the outgoing half: voters and learners stay disjoint.
                    learnersNext.Add(member);
                    break;
                case ConfChangeKind.AddLearner:
                    learners.Add(member);
                    break;
            }
        }

        return state with { Voters = [.. voters], Learners = [.. learners], LearnersNext = [.. learnersNext] };
    }

    private static ImmutableArray<MemberId> Sorted(IEnumerable<MemberId> ids) => [.. ids.Distinct().Order()];
}

using Kapell.Base;

namespace Kapell.Raft;

/// <summary>The configuration in force, the progress of each member, and the counting of majorities in it.</summary>
internal sealed class Membership(MemberId self, int inflightMax, long inflightBytesMax)
{
    private readonly SortedDictionary<MemberId, Progress> _progress = [];
    private readonly Dictionary<MemberId, bool> _votes = [];

    public ConfState State { get; private set; } = ConfState.Empty;

    /// <summary>Everybody with their progress, ordered by id.</summary>
    public IReadOnlyDictionary<MemberId, Progress> All => _progress;

    public Progress? Find(MemberId id) => _progress.GetValueOrDefault(id);

    /// <summary>New members start unknown, at the end of our log; members that stay keep what is known of them.</summary>
    public void SwitchTo(ConfState state, LogIndex last)
    {
        State = state;
        foreach (MemberId gone in _progress.Keys.Where(id => !state.IsMember(id)).ToList())
        {
            _progress.Remove(gone);
        }

        foreach (MemberId id in state.Members())
        {
            bool isLearner = !state.IsVoter(id);
            if (_progress.TryGetValue(id, out Progress? progress))
            {
                progress.IsLearner = isLearner;
                continue;
            }

            // Counted as active at first, or check-quorum would depose a leader before the new member had a chance to speak.
            _progress[id] = new Progress(last, isLearner, inflightMax, inflightBytesMax) { RecentActive = true };
        }
    }

    public void ResetProgress(LogIndex last, LogIndex durable)
    {
        foreach ((MemberId id, Progress progress) in _progress)
        {
            progress.Reset(id == self ? durable : LogIndex.Zero, last.Next());
        }
    }

    public void ResetVotes() => _votes.Clear();

    /// <summary>The first answer of a member counts.</summary>
    public void RecordVote(MemberId id, bool granted) => _votes.TryAdd(id, granted);

    public VoteOutcome TallyVotes() => Both(
        Tally(State.Voters),
        State.IsJoint ? Tally(State.VotersOutgoing) : VoteOutcome.Won);

    /// <summary>The highest index that a majority (of both halves, if joint) has durably.</summary>
    public LogIndex Committed() => new(Quorum(static p => p.Match.Value));

    /// <summary>The highest value that a majority has reached.</summary>
    public ulong Quorum(Func<Progress, ulong> value) => Quorum((_, progress) => value(progress));

    public ulong Quorum(Func<MemberId, Progress, ulong> value)
    {
        ulong incoming = Majority(State.Voters, value);
        return State.IsJoint ? Math.Min(incoming, Majority(State.VotersOutgoing, value)) : incoming;
    }

    /// <summary>Whether a majority was heard from lately.</summary>
    public bool QuorumActive()
    {
        VoteOutcome Heard(IReadOnlyList<MemberId> voters) =>
            voters.Count(id => id == self || _progress[id].RecentActive) > voters.Count / 2 ? VoteOutcome.Won : VoteOutcome.Lost;
        return Both(Heard(State.Voters), State.IsJoint ? Heard(State.VotersOutgoing) : VoteOutcome.Won) == VoteOutcome.Won;
    }

    private static VoteOutcome Both(VoteOutcome left, VoteOutcome right)
    {
        if (left == VoteOutcome.Lost || right == VoteOutcome.Lost)
        {
            return VoteOutcome.Lost;
        }

        return left == VoteOutcome.Won && right == VoteOutcome.Won ? VoteOutcome.Won : VoteOutcome.Pending;
    }

    private VoteOutcome Tally(IReadOnlyList<MemberId> voters)
    {
        Check.That(voters.Count > 0);
        int needed = (voters.Count / 2) + 1;
        int granted = voters.Count(id => _votes.TryGetValue(id, out bool vote) && vote);
        int missing = voters.Count(id => !_votes.ContainsKey(id));
        if (granted >= needed)
        {
            return VoteOutcome.Won;
        }

        return granted + missing >= needed ? VoteOutcome.Pending : VoteOutcome.Lost;
    }

    private ulong Majority(IReadOnlyList<MemberId> voters, Func<MemberId, Progress, ulong> value)
    {
        Check.That(voters.Count > 0);
        if (voters.Count == 1)
        {
            return value(voters[0], _progress[voters[0]]);
        }

        ulong[] values = new ulong[voters.Count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = value(voters[i], _progress[voters[i]]);
        }

        Array.Sort(values);
        // The smallest of the upper majority: that many members have at least this.
        return values[values.Length - ((values.Length / 2) + 1)];
    }
}

internal enum VoteOutcome
{
    Pending,
    Won,
    Lost,
}

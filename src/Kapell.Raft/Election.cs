using Kapell.Base;

namespace Kapell.Raft;

internal enum CampaignKind
{
    PreElection,
    Election,

    /// <summary>On request of the leader: without pre-vote, and its lease does not protect it.</summary>
    Transfer,
}

/// <summary>Elections: when to campaign, whom to vote for, when one is won (Raft §5.2, §5.4.1; thesis §9.6).</summary>
internal sealed class Election(RaftCore core, Action onWon)
{
    public void Campaign(CampaignKind kind)
    {
        if (core.Role == Role.Leader || !core.IsPromotable || HasUnappliedConfChange())
        {
            return;
        }

        Start(kind == CampaignKind.Election && core.Config.PreVote ? CampaignKind.PreElection : kind);
    }

    public void HandleRequest(VoteRequest request)
    {
        bool future = request.PreVote && request.Term > core.Term;
        bool canVote = core.Vote == request.From || (core.Vote.IsNone && core.Leader.IsNone) || future;
        // A learner may vote: it may have been promoted without knowing it yet (etcd issue 7625).
        bool granted = canVote && request.Last.IsUpToDateWith(core.Log.Last);
        // A grant speaks of the term that was asked for, a refusal of ours (which the candidate may not know).
        Term term = granted ? request.Term : core.Term;
        VoteResponse response = new(core.Id, request.From, term, request.PreVote, granted);
        if (request.PreVote)
        {
            core.Send(response);
            return;
        }

        if (granted)
        {
            core.GrantVote(request.From);
        }

        core.SendAfterPersist(response);
    }

    public void HandleResponse(VoteResponse response)
    {
        bool mine = response.PreVote ? core.Role == Role.PreCandidate : core.Role == Role.Candidate;
        if (mine)
        {
            if (!response.PreVote && !response.Granted && core.Config.PreVote)
            {
                // Somebody else has this vote. Either he leads in a moment, and our question whether to campaign is refused then, or votes
                // are split and nobody does: not worth a whole election timeout (Raft §5.2 leaves the choice of the next time open).
                core.CampaignSoon(core.Config.ElectionTicks / 2);
            }

            Record(response.From, response.Granted);
        }
    }

    /// <summary>Our own vote is on disk.</summary>
    public void OwnVotePersisted(Term term)
    {
        if (core.Role == Role.Candidate && core.Term == term)
        {
            Record(core.Id, true);
        }
    }

    private void Start(CampaignKind kind)
    {
        bool preVote = kind == CampaignKind.PreElection;
        if (preVote)
        {
            core.BecomePreCandidate();
        }
        else
        {
            core.BecomeCandidate();
            core.OwnVotePending = core.Term;
        }

        Term term = preVote ? core.Term.Next() : core.Term;
        ConfState conf = core.Members.State;
        foreach (MemberId id in conf.Members().Where(id => id != core.Id && conf.IsVoter(id)))
        {
            VoteRequest request = new(core.Id, id, term, core.Log.Last, preVote, kind == CampaignKind.Transfer);
            if (preVote)
            {
                core.Send(request);
            }
            else
            {
                // Only when our log and vote are durable: a vote given on entries that we then lose in a crash could come
                // back late and elect us in the same term without them.
                core.SendAfterPersist(request);
            }
        }

        if (preVote)
        {
            Record(core.Id, true);
        }
    }

    private void Record(MemberId from, bool granted)
    {
        core.Members.RecordVote(from, granted);
        switch (core.Members.TallyVotes())
        {
            case VoteOutcome.Won when core.Role == Role.PreCandidate:
                Start(CampaignKind.Election);
                break;
            case VoteOutcome.Won:
                core.BecomeLeader();
                onWon();
                break;
            case VoteOutcome.Lost:
                // The term stays: a pre-vote is refused with a higher term only by a message that carries it.
                core.BecomeFollower(core.Term, MemberId.None);
                break;
        }
    }

    /// <summary>A voter that has not applied a change yet could count a majority of the old configuration.</summary>
    private bool HasUnappliedConfChange()
    {
        for (LogIndex index = core.Log.Applied.Next(); index <= core.Log.Committed; index = index.Next())
        {
            if (core.Log[index].Kind == EntryKind.ConfChange)
            {
                return true;
            }
        }

        return false;
    }
}

namespace Kapell.Raft;

/// <summary>Looks at a message before it may change anything.</summary>
internal static class MessageGate
{
    /// <summary>Elections that no cluster holds while one of its members is away: who counts beyond the last term could hold none.</summary>
    private const ulong TermLeapMax = 1UL << 32;

    /// <summary>Entries that no log ever has; counting goes on safely from here.</summary>
    private const ulong IndexMax = 1UL << 62;

    public static StepResult Judge(RaftCore core, Message message)
    {
        if (message.To != core.Id || message.From == core.Id || message.From.IsNone || !IsPossible(core, message))
        {
            return StepResult.Malformed;
        }

        bool forMembers = message.IsResponse || message is ForwardedProposal or ReadIndexRequest or TransferRequest;
        if (forMembers && core.Members.Find(message.From) is null)
        {
            return StepResult.NotMember;
        }

        bool wellFormed = message switch
        {
            ForwardedProposal m => m.Term == Term.Zero && m.Entries.Count > 0,
            ReadIndexRequest or TransferRequest => message.Term == Term.Zero,
            AppendRequest m => m.Term > Term.Zero && Follow(m),
            InstallSnapshot m => m.Term > Term.Zero && m.Snapshot.Position.Term <= m.Term && !m.Snapshot.ConfState.Voters.IsEmpty,
            _ => message.Term > Term.Zero,
        };
        return wellFormed ? StepResult.Taken : StepResult.Malformed;
    }

    public static void AnswerOlderTerm(RaftCore core, Message message)
    {
        switch (message)
        {
            // A leader of an older term: let it know that time has moved on, or a member that campaigned while it was cut off could
            // neither win nor come back, since its votes are ignored (etcd-io/raft: raft.go Step).
            case AppendRequest or Heartbeat when core.Config.CheckQuorum || core.Config.PreVote:
                core.SendAfterPersist(
                    new AppendResponse(core.Id, message.From, core.Term, false, LogIndex.Zero, default));
                break;

            // A candidate of an older term with a better log must learn of ours, or both sides wait for ever.
            case VoteRequest { PreVote: true }:
                core.Send(new VoteResponse(core.Id, message.From, core.Term, true, false));
                break;
        }
    }

    /// <summary>Its numbers are such that a cluster can have come to them.</summary>
    private static bool IsPossible(RaftCore core, Message message)
    {
        ulong index = message switch
        {
            AppendRequest m => Math.Max(m.Commit.Value, m.Previous.Index.Value),
            AppendResponse m => Math.Max(m.Index.Value, m.Hint.Index.Value),
            Heartbeat m => m.Commit.Value,
            InstallSnapshot m => m.Snapshot.Position.Index.Value,
            ReadIndexResponse m => m.Index.Value,
            VoteRequest m => m.Last.Index.Value,
            _ => 0,
        };
        return index <= IndexMax && (message.Term <= core.Term || message.Term.Value - core.Term.Value <= TermLeapMax);
    }

    /// <summary>The entries follow their predecessor without gaps, in terms that do not fall.</summary>
    private static bool Follow(AppendRequest request)
    {
        LogPosition previous = request.Previous;
        foreach (Entry entry in request.Entries)
        {
            if (entry.Index != previous.Index.Next() || entry.Term < previous.Term || entry.Kind > EntryKind.ConfChange)
            {
                return false;
            }

            previous = entry.Position;
        }

        return previous.Term <= request.Term;
    }
}

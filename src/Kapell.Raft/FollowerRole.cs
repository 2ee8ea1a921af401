using Kapell.Base;

namespace Kapell.Raft;

/// <summary>What a member does with the messages of its leader, and with the wishes of its own host (Raft §5.3).</summary>
internal sealed class FollowerRole(RaftCore core)
{
    public void HandleAppend(AppendRequest request)
    {
        HeardFrom(request.From);
        if (request.Previous.Index < core.Log.Committed)
        {
            // Old news; say how far we are.
            Accept(request.From, core.Log.Committed);
            return;
        }

        if (core.Log.Matches(request.Previous))
        {
            LogIndex last = request.Previous.Index + (ulong)request.Entries.Count;
            if (core.Log.FindConflict(request.Entries) is { } conflict)
            {
                core.AppendToLog(conflict == 0 ? request.Entries : [.. request.Entries.Skip(conflict)]);
            }

            // Beyond the last new entry our log may still differ from the leader's (Raft figure 2, AppendEntries 5).
            core.Log.CommitTo(LogIndex.Min(request.Commit, last));
            Accept(request.From, last);
            return;
        }

        LogIndex from = LogIndex.Min(request.Previous.Index, core.Log.Last.Index);
        LogPosition hint = core.Log.FindConflictByTerm(from, request.Previous.Term);
        core.SendAfterPersist(new AppendResponse(core.Id, request.From, core.Term, false, request.Previous.Index, hint));
    }

    public void HandleHeartbeat(Heartbeat heartbeat)
    {
        HeardFrom(heartbeat.From);
        core.Log.CommitTo(heartbeat.Commit);
        core.Send(new HeartbeatResponse(core.Id, heartbeat.From, core.Term, heartbeat.ReadPosition));
    }

    public void HandleSnapshot(InstallSnapshot message)
    {
        HeardFrom(message.From);
        if (core.SnapshotInProgress)
        {
            // The host is still replacing its state by an earlier one. The leader hears how far that is and comes back to it.
            return;
        }

        SnapshotMetadata snapshot = message.Snapshot;
        // A checkpoint older than our membership does not name us; the entries that follow it will.
        bool useless = snapshot.Index <= core.Log.Committed;
        if (!useless && core.Log.Matches(snapshot.Position))
        {
            // We have all of it in the log already.
            core.Log.CommitTo(snapshot.Index);
            useless = true;
        }

        if (useless)
        {
            Accept(message.From, core.Log.Committed);
            return;
        }

        foreach (InflightWrite write in core.Writes)
        {
            write.Last = LogIndex.Zero;
        }

        core.Log.RestoreTo(snapshot.Position);
        core.Members.SwitchTo(snapshot.ConfState, core.Log.Last.Index);
        core.SnapshotPending = snapshot;
        Accept(message.From, core.Log.Last.Index);
    }

    public ProposeResult Forward(ProposedEntry entry)
    {
        if (core.Leader.IsNone)
        {
            return ProposeResult.NoLeader;
        }

        core.Send(new ForwardedProposal(core.Id, core.Leader, [entry]));
        return ProposeResult.Accepted;
    }

    public bool ForwardRead(ulong context)
    {
        if (core.Leader.IsNone)
        {
            return false;
        }

        core.Send(new ReadIndexRequest(core.Id, core.Leader, context));
        return true;
    }

    public bool ForwardTransfer(MemberId successor)
    {
        if (core.Leader.IsNone)
        {
            return false;
        }

        core.Send(new TransferRequest(core.Id, core.Leader, successor));
        return true;
    }

    private void HeardFrom(MemberId leader)
    {
        if (core.Role != Role.Follower || core.Leader != leader)
        {
            // A candidate learns that the term has a leader (Raft §5.2).
            core.BecomeFollower(core.Term, leader);
        }

        core.ElectionElapsed = 0;
    }

    private void Accept(MemberId leader, LogIndex index) =>
        core.SendAfterPersist(new AppendResponse(core.Id, leader, core.Term, true, index, default));
}

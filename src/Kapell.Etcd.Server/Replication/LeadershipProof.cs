using Kapell.Raft;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// When a leader last led for certain: at the beginning of the newest round of heartbeats that a majority has answered. One who was elected
/// since without our knowledge was elected after that moment, since one of those who answered voted after it answered. It rests on no clock
/// but ours. etcd (v3_server.go ensureLeadership) takes it that a member whose own clock ticks still leads.
/// </summary>
internal sealed class LeadershipProof
{
    private readonly Queue<(Term Term, ulong Round, long At)> _begun = new();
    private (Term Term, long At)? _proven;
    private ulong _rounds;

    /// <summary>After a tick of Raft that began at <paramref name="now"/>, in milliseconds.</summary>
    public void Ticked(RaftNode raft, long now)
    {
        if (raft.HeartbeatRounds != _rounds)
        {
            _rounds = raft.HeartbeatRounds;
            _begun.Enqueue((raft.Term, _rounds, now));
        }

        TakeConfirmed(raft);
    }

    /// <summary>Whether we led at some moment of the last <paramref name="milliseconds"/>.</summary>
    public bool Holds(RaftNode raft, long now, long milliseconds)
    {
        if (raft.Role != Role.Leader)
        {
            return false;
        }

        TakeConfirmed(raft);
        return raft.ConfState.IsSingleVoter || (_proven is { } proven && proven.Term == raft.Term && now - proven.At <= milliseconds);
    }

    private void TakeConfirmed(RaftNode raft)
    {
        while (_begun.TryPeek(out (Term Term, ulong Round, long At) next) && (next.Round <= raft.ConfirmedRound || next.Term != raft.Term))
        {
            _begun.Dequeue();
            _proven = next.Round <= raft.ConfirmedRound ? (next.Term, next.At) : _proven;
        }
    }
}

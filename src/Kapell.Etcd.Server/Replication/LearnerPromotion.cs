using Kapell.Etcd.Protocol;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// Of the leader: which learner may vote now, because it has kept up without a break for some time. Counted in ticks. The cluster must
/// be no worse off with it: a majority of the voters that there will be is heard from.
/// </summary>
/// <param name="steadyTicks">For how long; 0: never.</param>
/// <param name="electionTicks">Silence for twice this long is a break: within one of them every member that lives is heard.</param>
public sealed class LearnerPromotion(int steadyTicks, int electionTicks)
{
    // etcd: server.go readyPercentThreshold. Of a long log a tenth is much, so no more may be missing than fits into a moment either.
    private const double ReadyShare = 0.9;
    private const ulong EntriesBehindMax = 5000;

    private readonly Dictionary<MemberId, ulong> _readySince = [];
    private readonly Dictionary<MemberId, ulong> _heard = [];
    private ulong _ticks;

    /// <summary>Once a tick, by whoever leads. The learner that is to be promoted, or none.</summary>
    public MemberId Consider(RaftNode raft, MemberRegistry members)
    {
        _ticks++;
        if (steadyTicks <= 0 || raft.Role != Raft.Role.Leader || raft.ConfState is not { IsJoint: false, Learners.Length: > 0 })
        {
            _readySince.Clear();
            _heard.Clear();
            return MemberId.None;
        }

        RaftStatus status = raft.Status();
        foreach (MemberProgress progress in status.Members.Where(static p => p.RecentActive))
        {
            _heard[progress.Id] = _ticks;
        }

        foreach (MemberProgress learner in status.Members.Where(static p => p.IsLearner))
        {
            if (!IsReady(learner, status, members.Find(learner.Id.Value)))
            {
                _readySince.Remove(learner.Id);
                continue;
            }

            _readySince.TryAdd(learner.Id, _ticks);
            if (_ticks - _readySince[learner.Id] >= (ulong)steadyTicks && MajorityIsHeard(raft, status))
            {
                // Asked once; if the change comes to nothing, its time begins anew.
                _readySince.Remove(learner.Id);
                return learner.Id;
            }
        }

        return MemberId.None;
    }

    // A member names itself when it runs for the first time.
    private bool IsReady(MemberProgress learner, RaftStatus status, Member? member) =>
        member is { Name.Length: > 0 } && IsHeard(learner.Id) && learner.State == ProgressState.Replicate
        && learner.Match.Value >= status.Last.Index.Value * ReadyShare && status.Last.Index - learner.Match <= EntriesBehindMax;

    private bool MajorityIsHeard(RaftNode raft, RaftStatus status)
    {
        int heard = 1 + status.ConfState.Voters.Count(v => v == raft.Id || IsHeard(v));
        return heard >= ((status.ConfState.Voters.Length + 1) / 2) + 1;
    }

    private bool IsHeard(MemberId member) => _heard.TryGetValue(member, out ulong at) && _ticks - at <= 2 * (ulong)electionTicks;
}

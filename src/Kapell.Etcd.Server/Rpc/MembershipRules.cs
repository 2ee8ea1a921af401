using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// What is asked before a change of the membership is proposed, so that a cluster does not lose its quorum by it (strict-reconfig-check).
/// etcd: membership/cluster.go IsReadyToAddVotingMember, IsReadyToRemoveVotingMember
/// </summary>
/// <param name="connectedFor">For how long this member has been connected to another one; null: it is not.</param>
public sealed class MembershipRules(ReplicaHost host, bool strict, Func<ulong, TimeSpan?> connectedFor, Prng prng)
{
    /// <summary>How long others must have been connected to count: who comes and goes is nobody to build a quorum on. etcd: HealthInterval</summary>
    public static readonly TimeSpan HealthInterval = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new(); // Guards the generator.

    /// <summary>Voters below which no member is removed; 0: no such bound.</summary>
    public int VotersMin { get; init; }

    /// <summary>A number that was never used: from the addresses and the present, as etcd does it, here with chance in place of time.</summary>
    public ulong NewMemberId(IEnumerable<string> urls)
    {
        lock (_lock)
        {
            return ClusterIdentity.MemberId(urls, prng.NextUInt64().ToString("x16", System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    /// <param name="member">Who is to come.</param>
    /// <param name="replaced">The voter in whose place a learner comes, as <c>kapell member replace</c> says; 0: nobody's.</param>
    public EtcdError? JudgeAdd(Member member, ulong replaced = 0)
    {
        // Whether the cluster is well comes first, as in etcd, which asks the rest when the change is applied.
        Member[] members = Members();
        return (strict ? JudgeHealth(members, member, replaced) : null)
            ?? (members.Any(m => m.PeerURLs.Intersect(member.PeerURLs, StringComparer.Ordinal).Any()) ? EtcdError.PeerUrlExists
                : member.IsLearner && members.Count(static m => m.IsLearner) >= host.LearnersMax ? EtcdError.TooManyLearners
                : null);
    }

    private EtcdError? JudgeHealth(Member[] members, Member member, ulong replaced)
    {
        Member[] voters = [.. members.Where(static m => !m.IsLearner)];
        int started = voters.Count(IsStarted);
        int quorumAfter = ((voters.Length + 1) / 2) + 1;

        // A single member that grows has no other choice.
        if (!member.IsLearner && !(started == 1 && voters.Length == 1) && started < quorumAfter)
        {
            return EtcdError.MemberNotEnoughStarted;
        }

        // The rule keeps a second loss from being the last. Where it is known which voter is lost, the learner is the way out of that.
        if (member.IsLearner && voters.FirstOrDefault(m => m.ID == replaced) is { } lost && !IsConnected(lost))
        {
            return null;
        }

        // Counted as if the new one were not there: the others must do without it. etcd: isConnectedToQuorumAfterAddingNewMemberSince
        return voters.Length == 1 || voters.Count(IsReliable) >= quorumAfter ? null : EtcdError.Unhealthy;
    }

    public EtcdError? JudgeRemove(ulong id)
    {
        Member[] members = Members();
        if (members.FirstOrDefault(m => m.ID == id) is not { } leaving)
        {
            return EtcdError.MemberNotFound;
        }

        if (!leaving.IsLearner && members.Count(static m => !m.IsLearner) - 1 is var left && left < VotersMin)
        {
            return EtcdError.TooFewVoters(id, left, VotersMin);
        }

        if (!strict || leaving.IsLearner)
        {
            return null;
        }

        Member[] voters = [.. members.Where(static m => !m.IsLearner)];
        Member[] staying = [.. voters.Where(m => m.ID != id)];
        if (staying.Length == 0 || (staying.Length == 1 && !IsStarted(staying[0])))
        {
            return EtcdError.MemberNotEnoughStarted;
        }

        // One that is down may always go: it only makes the quorum smaller.
        if (!IsConnected(leaving))
        {
            return null;
        }

        int quorumAfter = (staying.Length / 2) + 1;
        return staying.Count(IsStarted) < quorumAfter ? EtcdError.MemberNotEnoughStarted
            : staying.Count(IsReliable) < quorumAfter ? EtcdError.Unhealthy
            : null;
    }

    private Member[] Members() => host.Reading(() => host.Replica.Applier.Members.All.ToArray());

    // A member names itself when it runs for the first time.
    private static bool IsStarted(Member member) => member.Name.Length > 0;

    private bool IsConnected(Member member) => member.ID == host.Header.MemberId || connectedFor(member.ID) is not null;

    private bool IsReliable(Member member) => member.ID == host.Header.MemberId || connectedFor(member.ID) >= HealthInterval;
}

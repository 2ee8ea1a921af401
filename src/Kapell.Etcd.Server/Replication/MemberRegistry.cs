using Kapell.Etcd.Protocol;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Names and addresses of the members; who votes is Raft's configuration, in which each of them stands.</summary>
public sealed class MemberRegistry
{
    private readonly SortedDictionary<ulong, Member> _members = [];

    private readonly SortedSet<ulong> _removed = [];

    /// <summary>Members of earlier; a number is never used again. etcd: membership/cluster.go removed</summary>
    public IReadOnlyCollection<ulong> Removed => _removed;

    public IReadOnlyCollection<Member> All => _members.Values;

    public Member? Find(ulong id) => _members.GetValueOrDefault(id);

    /// <summary>A membership change brought the peer addresses, or a checkpoint everything.</summary>
    public void Set(Member member) => _members[member.ID] = member;

    public void Remove(ulong id)
    {
        _members.Remove(id);
        _removed.Add(id);
    }

    public void RestoreRemoved(ulong id) => _removed.Add(id);

    /// <summary>
    /// Why a change of the membership must not happen, or null. Judged again when it is applied, in the order of the log, so that every
    /// member judges alike. etcd: membership/cluster.go ValidateConfigurationChange
    /// </summary>
    /// <param name="context">What came with the change.</param>
    public EtcdError? Judge(ConfChangeStep step, MembershipContext context)
    {
        Member? member = context.Member;
        ulong id = step.Member.Value;
        if (_removed.Contains(id))
        {
            return EtcdError.MemberNotFound;
        }

        Member? known = _members.GetValueOrDefault(id);
        if (step.Kind == ConfChangeKind.Remove)
        {
            return known is null ? EtcdError.MemberNotFound : null;
        }

        if (known is not null)
        {
            bool promotion = step.Kind == ConfChangeKind.AddVoter && known.IsLearner;
            return promotion ? null : step.Kind == ConfChangeKind.AddVoter ? EtcdError.MemberNotLearner : EtcdError.MemberExists;
        }

        if (member is null)
        {
            return EtcdError.MemberNotFound;
        }

        if (_members.Values.Any(m => m.PeerURLs.Intersect(member.PeerURLs, StringComparer.Ordinal).Any()))
        {
            return EtcdError.PeerUrlExists;
        }

        return step.Kind == ConfChangeKind.AddLearner && _members.Values.Count(static m => m.IsLearner) >= context.LearnersMax ? EtcdError.TooManyLearners : null;
    }

    /// <summary>Judges a change as it stands in the log, and takes it when nothing speaks against it; then null.</summary>
    /// <param name="change">Of one member, or of several, which nobody refuses.</param>
    /// <param name="context">What came with it.</param>
    public EtcdError? Apply(ConfChange change, MembershipContext context)
    {
        EtcdError? refusal = change.Steps.Count == 1 ? Judge(change.Steps[0], context) : null;
        if (refusal is null)
        {
            foreach (ConfChangeStep step in change.Steps)
            {
                Take(step, context.Member);
            }
        }

        return refusal;
    }

    private void Take(ConfChangeStep step, Member? member)
    {
        if (step.Kind == ConfChangeKind.Remove)
        {
            Remove(step.Member.Value);
            return;
        }

        Member entry = (Find(step.Member.Value) ?? member ?? new Member { ID = step.Member.Value }).Clone();
        entry.IsLearner = step.Kind == ConfChangeKind.AddLearner;
        Set(entry);
    }

    /// <summary>Another address for a member. etcd: cluster.go, ConfChangeUpdateNode</summary>
    public EtcdError? UpdatePeerUrls(Member update)
    {
        if (!_members.TryGetValue(update.ID, out Member? member))
        {
            return EtcdError.MemberNotFound;
        }

        if (_members.Values.Any(m => m.ID != update.ID && m.PeerURLs.Intersect(update.PeerURLs, StringComparer.Ordinal).Any()))
        {
            return EtcdError.PeerUrlExists;
        }

        Member changed = member.Clone();
        changed.PeerURLs.Clear();
        changed.PeerURLs.Add(update.PeerURLs);
        _members[member.ID] = changed;
        return null;
    }

    /// <summary>A member told its name and client addresses. Ignored when it is no member any more.</summary>
    public void SetAttributes(Member attributes)
    {
        if (_members.TryGetValue(attributes.ID, out Member? member))
        {
            Member changed = member.Clone();
            changed.Name = attributes.Name;
            changed.ClientURLs.Clear();
            changed.ClientURLs.Add(attributes.ClientURLs);
            _members[member.ID] = changed;
        }
    }
}

using Kapell.Etcd.Protocol;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Names and addresses of the members; who votes is Raft's configuration, in which each of them stands.</summary>
public sealed class MemberRegistry
{
    private readonly SortedDictionary<ulong, Member> _members = [];

    public IReadOnlyCollection<Member> All => _members.Values;

    public Member? Find(ulong id) => _members.GetValueOrDefault(id);

    /// <summary>A membership change brought the peer addresses, or a checkpoint everything.</summary>
    public void Set(Member member) => _members[member.ID] = member;

    public void Remove(ulong id) => _members.Remove(id);

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

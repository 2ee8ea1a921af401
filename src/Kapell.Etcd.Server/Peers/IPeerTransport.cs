using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Peers;

/// <summary>The way to the other members. Nothing here waits: what cannot be sent is dropped and reported, Raft repeats it.</summary>
public interface IPeerTransport
{
    /// <summary>A checkpoint's file is being read for a member that is far behind. From any thread.</summary>
    bool IsSendingSnapshot { get; }

    /// <summary>In order to each member, except that large messages never hold up small ones.</summary>
    void Send(IReadOnlyList<Message> messages);

    /// <summary>Who the members are now, with addresses; those that are gone are not spoken to any more.</summary>
    void Know(ulong self, IReadOnlyCollection<Member> members, IReadOnlyCollection<ulong> removed);
}

/// <summary>What comes from the other members; from any thread.</summary>
public interface IPeerEvents
{
    /// <summary>The caller holds back while the receiver is full.</summary>
    void Received(Message message);

    /// <summary>A whole checkpoint of the leader lies on our disk and is read; the receiver owns the store.</summary>
    void Received(InstallSnapshot message, CheckpointHead head, MvccStore store);

    void Unreachable(MemberId member);

    /// <summary>The connection to the member broke: if it leads, it may be gone.</summary>
    void Disconnected(MemberId member);

    /// <summary>A member of the cluster says that this one was removed for good.</summary>
    void RemovedHere();

    void SnapshotSent(MemberId member, bool whole);
}

/// <summary>A single member has nobody to speak to.</summary>
public sealed class NoPeers : IPeerTransport
{
    public bool IsSendingSnapshot => false;

    public void Send(IReadOnlyList<Message> messages)
    {
    }

    public void Know(ulong self, IReadOnlyCollection<Member> members, IReadOnlyCollection<ulong> removed)
    {
    }
}

using Kapell.Etcd.Protocol;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Replication;

/// <summary>What the shell around a replica does for <see cref="ReplicaTurns"/>, on the thread that owns the replica.</summary>
public interface IReplicaDuties
{
    /// <summary>To the other members; what cannot be sent is lost.</summary>
    void Send(IReadOnlyList<Message> messages);

    /// <summary>
    /// Into the log, behind all that was given earlier. When it is written (and flushed where it must be), the number goes to
    /// <see cref="ReplicaTurns.Persisted"/>.
    /// </summary>
    void Write(Ready ready);

    /// <summary>Runs it at once, while nobody reads the store.</summary>
    void Own(Action work);

    /// <summary><see cref="Replica.Apply"/>, while nobody reads the store; then whatever follows from new content.</summary>
    void Apply(IReadOnlyList<Entry> entries);

    void LeaderChanged(SoftState soft);

    /// <summary>The leader's checkpoint has taken the place of the store and lies on our disk.</summary>
    void Installed(CheckpointHead head);

    /// <summary>The members, or their addresses, may have changed; this member may have been removed.</summary>
    void MembersChanged();
}

/// <summary>Whoever waits is told, once.</summary>
public interface IOutcome<in T>
{
    void Set(T outcome);
}

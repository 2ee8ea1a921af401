using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Xunit;

namespace Kapell.Etcd.Tests.Replication;

/// <summary>A cluster of one without threads: what is proposed is written, committed and applied at once.</summary>
internal sealed class LoneReplica : IReplicaWaiters, IDisposable
{
    private readonly Dictionary<ulong, ApplyOutcome> _outcomes = [];
    private ulong _nextId;

    public LoneReplica(long quotaBytes = 0, long startedAt = 0, MvccStore? store = null)
    {
        RaftNode raft = new(new RaftConfig { Id = new MemberId(1), Prng = new Prng(1) }, new RaftStart());
        Member self = new() { ID = 1, Name = "one" };
        raft.Bootstrap([ConfChange.Of(ConfChangeKind.AddVoter, new MemberId(1), new MembershipContext(0, self).Encode())]);
        Replica = new Replica(raft, new Applier(store ?? new MvccStore(), leaseTtlSecondsMin: 2), clusterId: 9, default, quotaBytes);
        Replica.SetTime(startedAt);
        Turn();
        raft.Campaign();
        Turn();
        Assert.Equal(Kapell.Raft.Role.Leader, raft.Role);
    }

    public Replica Replica { get; }

    public MvccStore Store => Replica.Applier.Store;

    /// <summary>All entries applied so far, in order.</summary>
    public List<Entry> Applied { get; } = [];

    public ApplyOutcome Propose(CommandKind kind, IMessage request, bool wanted = true)
    {
        ulong id = wanted ? ++_nextId : 0;
        Assert.Equal(ProposeResult.Accepted, Replica.Raft.Propose(new Command(id, kind, request).Encode()));
        Turn();
        return wanted ? _outcomes[id] : default;
    }

    public void Tick(long now)
    {
        Replica.Tick(now);
        Turn();
    }

    public bool IsWaiting(ulong requestId) => true;

    public void Complete(ulong requestId, ApplyOutcome outcome) => _outcomes.Add(requestId, outcome);

    public void Dispose() => Replica.Dispose();

    private void Turn()
    {
        while (Replica.Raft.HasReady)
        {
            Ready ready = Replica.TakeReady();
            if (ready.NeedsPersist)
            {
                Replica.Raft.Persisted(ready.Number);
            }

            Applied.AddRange(ready.Committed);
            Replica.Apply(ready.Committed, this);
        }
    }
}

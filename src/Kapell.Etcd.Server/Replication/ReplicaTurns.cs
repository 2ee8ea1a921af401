using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Raft;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Replication;

/// <summary>
/// The order of a member's work, without thread or clock: what comes in goes to the replica, what the replica asks for goes to the
/// <see cref="IReplicaDuties"/> in the order that Raft demands, who waits is told. After any number of inputs comes <see cref="Work"/>.
/// </summary>
public sealed class ReplicaTurns : IReplicaWaiters
{
    public const long RequestMilliseconds = 7000; // etcd: config.go ReqTimeout with its defaults
    private const int ReadRetryTicks = 5;
    private const int LateCheckTicks = 5;

    private readonly Replica _replica;
    private readonly IReplicaDuties _duties;
    private readonly Dictionary<ulong, Proposal> _proposals = [];
    private readonly List<Proposal> _withoutLeader = [];
    private readonly Dictionary<ulong, ReadBatch> _reads = [];
    private readonly PriorityQueue<ReadBatch, ulong> _confirmedReads = new();
    private readonly Queue<(ulong Number, IReadOnlyList<Message> Messages)> _afterPersist = new();
    private readonly SortedDictionary<ulong, (CheckpointHead Head, MvccStore Store)> _received = [];
    private (ulong Number, CheckpointHead Head, MvccStore Store)? _installing;
    private ulong _knownMembership;
    private ulong _nextRead;
    private ulong _ticks;
    private long _failedProposals;
    private long _failedReads;

    /// <param name="firstRead">The number of the first read, counted on from there. Random: a late answer to an earlier life of this member must
    /// not answer this one.</param>
    public ReplicaTurns(Replica replica, IReplicaDuties duties, ulong firstRead) =>
        (_replica, _duties, _nextRead, _knownMembership) = (replica, duties, firstRead, replica.MembershipVersion);

    public int PendingProposals => _proposals.Count;

    public int PendingReads => _reads.Count + _confirmedReads.Count;

    public long FailedProposals => Interlocked.Read(ref _failedProposals);

    public long FailedReads => Interlocked.Read(ref _failedReads);

    /// <summary>Confirmations of reads that had to be asked for again.</summary>
    public long SlowReads { get; private set; }

    public void Propose(Proposal proposal)
    {
        ProposeResult result = proposal.Change is { } change
            ? _replica.Raft.ProposeConfChange(change)
            : _replica.Raft.Propose(proposal.Data);
        switch (result)
        {
            case ProposeResult.ConfChangePending or ProposeResult.ConfChangeInvalid or ProposeResult.NotMember:
                proposal.Outcome.Set(new ApplyOutcome(EtcdError.Unhealthy, null));
                break;
            case ProposeResult.Accepted:
                _proposals.Add(proposal.Id, proposal);
                break;
            case ProposeResult.NoLeader or ProposeResult.TransferInProgress:
                _withoutLeader.Add(proposal);
                break;
            default:
                proposal.Outcome.Set(new ApplyOutcome(EtcdError.TooManyRequests, null));
                break;
        }
    }

    /// <summary>Tells them when the store has everything that was acknowledged anywhere before now: one confirmation for all.</summary>
    public void Read(List<IOutcome<EtcdError?>> waiters) => StartRead(new ReadBatch(waiters));

    public StepResult Step(Message message) => _replica.Raft.Step(message);

    /// <summary>A whole checkpoint of the leader lies on our disk. Raft decides whether it wants it; the next <see cref="Ready"/> says so.</summary>
    public void Offer(InstallSnapshot message, CheckpointHead head, MvccStore store)
    {
        if (_received.Remove(head.Index, out (CheckpointHead Head, MvccStore Store) former))
        {
            former.Store.Dispose();
        }

        _received[head.Index] = (head, store);
        if (_replica.Raft.Step(message) != StepResult.Taken)
        {
            _received.Remove(head.Index);
            store.Dispose();
        }
    }

    /// <summary>This <see cref="Ready"/> and all before it are written.</summary>
    public void Persisted(ulong number)
    {
        if (_installing is { } install && install.Number <= number)
        {
            _installing = null;
            _duties.Own(() => _replica.Install(install.Head, install.Store));
            _duties.Installed(install.Head);
        }

        _replica.Raft.Persisted(number);
        while (_afterPersist.TryPeek(out (ulong Number, IReadOnlyList<Message> Messages) next) && next.Number <= number)
        {
            _afterPersist.Dequeue();
            _duties.Send(next.Messages);
        }
    }

    /// <param name="now">Milliseconds, as in <see cref="Replica.Tick"/>.</param>
    public void Tick(long now)
    {
        _ticks++;
        _duties.Own(() => _replica.Tick(now));
        if (_ticks % LateCheckTicks == 0)
        {
            EndLate(now);
        }

        foreach (ReadBatch late in _reads.Values.Where(b => _ticks - b.AskedAt >= ReadRetryTicks).ToArray())
        {
            // The answer was lost, or could not be had: ask anew. etcd: v3_server.go readIndexRetryTime
            SlowReads++;
            _reads.Remove(late.Context);
            StartRead(late);
        }
    }

    /// <summary>Everything that has come up.</summary>
    public void Work()
    {
        CampaignIfAlone();
        while (_replica.Raft.HasReady)
        {
            Handle(_replica.TakeReady());
        }
    }

    /// <summary>The end: nobody waits any more.</summary>
    public void RefuseAll(EtcdError error)
    {
        foreach (Proposal proposal in _proposals.Values.Concat(_withoutLeader))
        {
            proposal.Outcome.Set(new ApplyOutcome(error, null));
        }

        IEnumerable<ReadBatch> batches = _reads.Values.Concat(_confirmedReads.UnorderedItems.Select(static i => i.Element));
        foreach (IOutcome<EtcdError?> waiter in batches.SelectMany(static b => b.Waiters))
        {
            waiter.Set(error);
        }
    }

    bool IReplicaWaiters.IsWaiting(ulong requestId) => _proposals.ContainsKey(requestId);

    // The very bytes: what came back through another member is read as the others read it.
    Command? IReplicaWaiters.Remembered(ulong requestId, ReadOnlyMemory<byte> data) =>
        _proposals.TryGetValue(requestId, out Proposal? proposal) && data.Equals(proposal.Data) ? proposal.Command : null;

    void IReplicaWaiters.Complete(ulong requestId, ApplyOutcome outcome)
    {
        if (_proposals.Remove(requestId, out Proposal? proposal))
        {
            proposal.Outcome.Set(outcome);
        }
    }

    private void Handle(Ready ready)
    {
        _duties.Send(ready.Messages);
        if (ready.MessagesAfterPersist.Count > 0)
        {
            _afterPersist.Enqueue((ready.Number, ready.MessagesAfterPersist));
        }

        if (_received.Count > 0)
        {
            TakeCheckpoint(ready);
        }

        if (ready.SoftState is { } soft)
        {
            _duties.LeaderChanged(soft);
            ProposeAgain(soft);
        }

        if (ready.NeedsPersist)
        {
            _duties.Write(ready);
        }

        foreach (ReadState read in ready.ReadStates)
        {
            if (_reads.Remove(read.Context, out ReadBatch? batch))
            {
                _confirmedReads.Enqueue(batch, read.Index.Value);
            }
        }

        if (ready.Committed.Count > 0)
        {
            _duties.Apply(ready.Committed);
            if (_replica.MembershipVersion != _knownMembership)
            {
                _knownMembership = _replica.MembershipVersion;
                _duties.MembersChanged();
            }
        }

        EndReads();
    }

    private void EndReads()
    {
        while (_confirmedReads.TryPeek(out ReadBatch? next, out ulong index) && index <= _replica.AppliedPosition.Index.Value)
        {
            _confirmedReads.Dequeue();
            next.Waiters.ForEach(static w => w.Set(null));
        }
    }

    private void TakeCheckpoint(Ready ready)
    {
        if (ready.Snapshot is { } wanted)
        {
            Check.That(_received.Remove(wanted.Index.Value, out (CheckpointHead Head, MvccStore Store) found));
            Check.That(_installing is null);
            _installing = (ready.Number, found.Head, found.Store);
        }

        foreach ((_, (_, MvccStore unwanted)) in _received)
        {
            unwanted.Dispose();
        }

        _received.Clear();
    }

    private void ProposeAgain(SoftState soft)
    {
        if (soft.Leader.IsNone)
        {
            return;
        }

        List<Proposal> again = [.. _withoutLeader];
        _withoutLeader.Clear();
        again.ForEach(Propose);
    }

    // One look now and then instead of a timer for each request.
    private void EndLate(long now)
    {
        foreach (Proposal late in _proposals.Values.Concat(_withoutLeader).Where(p => p.Age(now) > RequestMilliseconds).ToArray())
        {
            _proposals.Remove(late.Id);
            _withoutLeader.Remove(late);
            _failedProposals++;
            late.Outcome.Set(new ApplyOutcome(EtcdError.Timeout, null));
        }

        foreach (ReadBatch late in _reads.Values.Where(b => b.Age(now) > RequestMilliseconds).ToArray())
        {
            _reads.Remove(late.Context);
            _failedReads += late.Waiters.Count;
            late.Waiters.ForEach(static w => w.Set(EtcdError.Timeout));
        }
    }

    private void StartRead(ReadBatch batch)
    {
        batch.Context = unchecked(_nextRead++);
        batch.AskedAt = _ticks;
        _reads.Add(batch.Context, batch);

        // False means that there is no leader: the next try comes with the ticks.
        _replica.Raft.ReadIndex(batch.Context);
    }

    private void CampaignIfAlone()
    {
        // etcd: a single member campaigns at once instead of waiting for its timeout.
        bool alone = _replica.Raft.ConfState.IsSingleVoter && _replica.Raft.ConfState.Voters[0] == _replica.Raft.Id;
        if (alone && _replica.Raft.Role == Role.Follower && _replica.Raft.Committed == _replica.AppliedPosition.Index)
        {
            _replica.Raft.Campaign();
        }
    }

    private sealed class ReadBatch(List<IOutcome<EtcdError?>> waiters)
    {
        private long _firstSeen;

        public List<IOutcome<EtcdError?>> Waiters { get; } = waiters;

        public ulong Context { get; set; }

        public ulong AskedAt { get; set; }

        /// <summary>Milliseconds since this was asked first.</summary>
        public long Age(long now)
        {
            _firstSeen = _firstSeen == 0 ? now : _firstSeen;
            return now - _firstSeen;
        }
    }
}

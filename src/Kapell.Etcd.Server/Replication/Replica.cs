using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Raft;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Replication;

/// <summary>Who waits for what; called while the replica applies.</summary>
public interface IReplicaWaiters
{
    /// <summary>Whether the response of a request is wanted here; it then gets an outcome.</summary>
    bool IsWaiting(ulong requestId);

    void Complete(ulong requestId, ApplyOutcome outcome);
}

/// <summary>
/// One member as a deterministic machine: Raft, what it applies, and the clock of the leases. Inputs are ticks with the time,
/// proposals, messages and "written up to"; outputs are the <see cref="Ready"/> of Raft, and outcomes told to the waiters. It has no
/// thread, lock or file: the server is a shell around it, the simulator another. Only <see cref="Apply"/> and <see cref="Tick"/>
/// change the store.
/// </summary>
public sealed class Replica : IDisposable
{
    // etcd: lease/lessor.go leaseRevokeRate 1000 a second, looked at twice a second.
    private const int RevocationsPerTick = 200;
    private const int MaintenancePerTick = 4096;

    // The alarm goes by itself once there is this share of the quota free again, so that it does not flap.
    private const double QuotaFreeShare = 0.05;

    private readonly RaftNode _raft;
    private readonly Applier _applier;
    private readonly long _quotaBytes;
    private readonly List<long> _expired = [];
    private bool _clearingAlarm;
    private bool _wasLeader;

    public Replica(RaftNode raft, Applier applier, ulong clusterId, LogPosition applied, long quotaBytes)
    {
        _raft = raft;
        _applier = applier;
        _quotaBytes = quotaBytes;
        ClusterId = clusterId;
        AppliedPosition = applied;
    }

    public ulong ClusterId { get; }

    /// <summary>The last entry that the store has.</summary>
    public LogPosition AppliedPosition { get; private set; }

    public RaftNode Raft => _raft;

    public Applier Applier => _applier;

    public ReplyHeader Header => new(ClusterId, _raft.Id.Value, _raft.Term.Value);

    /// <summary>
    /// Tells the time without a tick. Needed before the first work: a member alone leads before its first tick, and would count the
    /// time of its leases from zero.
    /// </summary>
    public void SetTime(long nowMilliseconds) => _applier.NowMilliseconds = nowMilliseconds;

    /// <summary>Raft's time goes on by one, the leases' to <paramref name="nowMilliseconds"/>.</summary>
    public void Tick(long nowMilliseconds)
    {
        _applier.NowMilliseconds = nowMilliseconds;
        _raft.Tick();
        _applier.Store.Maintain(MaintenancePerTick);
        if (_raft.Role != Role.Leader)
        {
            return;
        }

        _expired.Clear();
        _applier.Store.Leases.CollectExpired(nowMilliseconds, RevocationsPerTick, _expired);
        foreach (long id in _expired)
        {
            // A refusal is no loss: the lease comes up again after a while.
            _raft.Propose(new Command(0, CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = id }).Encode());
        }

        ClearAlarmWhenThereIsSpace();
    }

    /// <summary>Takes the work; follows a change of leadership with the clock of the leases.</summary>
    public Ready TakeReady()
    {
        Ready ready = _raft.TakeReady();
        bool leads = _raft.Role == Role.Leader;
        if (leads != _wasLeader)
        {
            _wasLeader = leads;
            if (leads)
            {
                _applier.Store.Leases.Promote(_applier.NowMilliseconds);
            }
            else
            {
                _applier.Store.Leases.Demote();
            }
        }

        return ready;
    }

    /// <summary>Carries out entries that <see cref="Ready.Committed"/> gave, in order.</summary>
    public void Apply(IReadOnlyList<Entry> entries, IReplicaWaiters waiters)
    {
        foreach (Entry entry in entries)
        {
            Check.That(entry.Index == AppliedPosition.Index.Next());
            if (entry.Kind == EntryKind.ConfChange)
            {
                ApplyMembership(entry);
            }
            else if (!entry.Data.IsEmpty)
            {
                ApplyCommand(entry, waiters);
            }

            AppliedPosition = entry.Position;
        }

        if (entries.Count > 0)
        {
            _raft.Applied(AppliedPosition.Index);
        }
    }

    public void Dispose() => _applier.Dispose();

    private void ApplyCommand(Entry entry, IReplicaWaiters waiters)
    {
        ulong id = Command.IdOf(entry.Data.Span);
        bool wanted = id != 0 && waiters.IsWaiting(id);
        ApplyOutcome outcome = _applier.Apply(Command.Decode(entry.Data.Span), Header, wanted);
        if (wanted)
        {
            waiters.Complete(id, outcome);
        }
    }

    private void ApplyMembership(Entry entry)
    {
        if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
        {
            throw new InvalidDataException($"log entry {entry.Index} is no change of membership");
        }

        _raft.ApplyConfChange(change);
        foreach (ConfChangeStep step in change.Steps)
        {
            if (step.Kind == ConfChangeKind.Remove)
            {
                _applier.Members.Remove(step.Member.Value);
            }
            else if (!change.Context.IsEmpty)
            {
                _applier.Members.Set(Member.Parser.ParseFrom(change.Context.Span));
            }
        }
    }

    private void ClearAlarmWhenThereIsSpace()
    {
        if (!_applier.HasAlarm(AlarmType.Nospace))
        {
            _clearingAlarm = false;
            return;
        }

        long most = (long)(_quotaBytes * (1 - QuotaFreeShare));
        if (_clearingAlarm || _quotaBytes <= 0 || _applier.Store.LiveBytes > most)
        {
            return;
        }

        // Only the alarm of this member: another knows its own memory best.
        AlarmRequest request = new()
        {
            Action = AlarmRequest.Types.AlarmAction.Deactivate,
            MemberID = _raft.Id.Value,
            Alarm = AlarmType.Nospace,
        };
        _clearingAlarm = _raft.Propose(new Command(0, CommandKind.Alarm, request).Encode()) == ProposeResult.Accepted;
    }
}

using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Replication;

/// <summary>What became of a command: a refusal, or a response.</summary>
public readonly record struct ApplyOutcome(EtcdError? Error, Reply? Reply);

/// <summary>
/// Carries out the commands of the log, the same on every member. What it knows besides the store: alarms, members, users and roles.
/// A command passes, from the outside in: the alarm of corruption, the alarm of space, the rights of the caller, the store.
/// A response is only written where somebody waits for it.
/// </summary>
public sealed class Applier : IDisposable
{
    /// <summary>Of the answer to one command. While it is written nobody is served, not even with heartbeats: some tenths of a second at most.</summary>
    internal const int ReplyBytesMax = 128 << 20;

    private const int ReplayedMaintenance = 64;

    // etcd: lease/lessor.go MaxLeaseTTL
    private const long LeaseTtlSecondsMax = 9_000_000_000;

    private readonly AuthExecutor _auth;
    private TxnExecutor _txn;
    private readonly long _leaseTtlSecondsMin;
    private readonly SortedSet<(ulong Member, AlarmType Alarm)> _alarms = [];

    public Applier(MvccStore store, long leaseTtlSecondsMin)
    {
        Store = store;
        _txn = new TxnExecutor(store);
        _auth = new AuthExecutor(Auth, Tokens);
        Gate = new AuthGate(Auth, store);
        Members = new MemberRegistry();
        _leaseTtlSecondsMin = leaseTtlSecondsMin;
    }

    public MvccStore Store { get; private set; }

    public MemberRegistry Members { get; private set; }

    public AuthTable Auth { get; } = new();

    public SimpleTokens Tokens { get; } = new();

    /// <summary>Of the log, being applied; a token's name ends in it.</summary>
    public ulong EntryIndex { get; set; }

    internal AuthGate Gate { get; private set; }

    /// <summary>Who measures what commands cost; null for nobody.</summary>
    internal IApplyTimes? Times { get; set; }

    /// <summary>For the expiry of leases; told by the owner before it applies.</summary>
    public long NowMilliseconds { get; set; }

    public IReadOnlyCollection<(ulong Member, AlarmType Alarm)> Alarms => _alarms;

    public bool HasAlarm(AlarmType alarm) => _alarms.Count > 0 && _alarms.Any(a => a.Alarm == alarm);

    public ApplyOutcome Apply(in Command command, ReplyHeader header, bool wantsReply)
    {
        long began = Times?.Begin() ?? 0;
        ApplyOutcome outcome = CarryOut(command, header, wantsReply);
        Times?.Applied(command.Request, outcome.Error is null, began);
        return outcome;
    }

    /// <summary>As <see cref="Apply"/>, for who reads a log outside a member: nobody waits, and what compactions leave is freed on the way.</summary>
    public void Replay(in Command command, ulong index)
    {
        EntryIndex = index;
        Apply(command, default, wantsReply: false);
        Store.Maintain(ReplayedMaintenance);
    }

    private ApplyOutcome CarryOut(in Command command, ReplyHeader header, bool wantsReply)
    {
        bool full = HasAlarm(AlarmType.Nospace);
        if (command.Request is PutRequest or DeleteRangeRequest or TxnRequest or CompactionRequest or LeaseGrantRequest or LeaseRevokeRequest
            && HasAlarm(AlarmType.Corrupt))
        {
            // Who is to end the alarm must be let in. etcd: apply/corrupt.go
            return new ApplyOutcome(EtcdError.Corrupt, null);
        }

        if (full && command.Request is PutRequest or LeaseGrantRequest)
        {
            return new ApplyOutcome(EtcdError.NoSpace, null);
        }

        if (Gate.Judge(command.Request, command.Caller) is { } refusal)
        {
            return new ApplyOutcome(refusal, null);
        }

        ReplyWriter? writer = wantsReply ? new ReplyWriter(bytesMax: ReplyBytesMax) : null;
        EtcdError? error = command.Request switch
        {
            PutRequest request => Put(request, header, writer),
            DeleteRangeRequest request => DeleteRange(request, header, writer),
            TxnRequest request => Txn(request, full, header, writer),
            CompactionRequest request => Compact(request, header, writer),
            LeaseGrantRequest request => Grant(request, header, writer),
            LeaseRevokeRequest request => Revoke(request, header, writer),
            LeaseCheckpointRequest request => CheckpointLeases(request),
            AlarmRequest request => ChangeAlarm(request, command.Id == 0, header, writer),
            Member update when command.Kind == CommandKind.MemberUpdate => Update(update, header, writer),
            Member attributes => SetAttributes(attributes),
            _ => ChangeAuth(command, header, writer),
        };
        if (writer?.IsTooLarge == true)
        {
            writer.Release();
            return new ApplyOutcome(EtcdError.ReplyTooLarge(ReplyBytesMax, "; what was asked for is done"), null);
        }

        return new ApplyOutcome(error, error is null ? writer?.Finish() : null);
    }

    /// <summary>Takes the place of everything: a checkpoint that the leader sent. Watchers move along and miss nothing that is still there.</summary>
    public void ReplaceBy(MvccStore store, CheckpointHead head)
    {
        MvccStore former = Store;
        store.AdoptWatchers(former);
        Store = store;
        _txn = new TxnExecutor(store);
        Gate = new AuthGate(Auth, store);
        Restore(head);
        former.Retire();
    }

    /// <summary>Members, alarms, users and roles as a checkpoint has them.</summary>
    public void Restore(CheckpointHead head)
    {
        Members = new MemberRegistry();
        _alarms.Clear();
        AuthRecordsCodec.Load(Auth, head.Auth);
        foreach (Member member in head.Members)
        {
            Members.Set(member);
        }

        foreach (ulong id in head.RemovedMembers)
        {
            Members.RestoreRemoved(id);
        }

        foreach (LeaseCheckpoint lease in head.Leases)
        {
            Store.Leases.Remember(lease.ID, lease.RemainingTTL);
        }

        foreach (AlarmMember alarm in head.Alarms)
        {
            _alarms.Add((alarm.MemberID, alarm.Alarm));
        }
    }

    public void Dispose() => Store.Dispose();

    private EtcdError? Put(PutRequest request, ReplyHeader header, ReplyWriter? writer)
    {
        EtcdError? error = _txn.CheckPut(request);
        if (error is not null)
        {
            return error;
        }

        if (writer is not null)
        {
            header.Write(writer, Store.Revision + 1);
        }

        Store.BeginWrite();
        _txn.Put(request, writer);
        Store.EndWrite();
        return null;
    }

    private EtcdError? DeleteRange(DeleteRangeRequest request, ReplyHeader header, ReplyWriter? writer)
    {
        Store.BeginWrite();
        _txn.DeleteRange(request, writer);
        Store.EndWrite();
        WriteHeader(header, writer);
        return null;
    }

    private EtcdError? Txn(TxnRequest request, bool full, ReplyHeader header, ReplyWriter? writer)
    {
        TxnExecutor.Plan plan = _txn.Choose(request);
        if (full && plan.Puts)
        {
            return EtcdError.NoSpace;
        }

        EtcdError? error = _txn.CheckPlan(plan);
        if (error is not null)
        {
            return error;
        }

        Store.Counts.Transactions++;
        Store.BeginWrite();
        _txn.Run(plan, writer);
        Store.EndWrite();
        WriteHeader(header, writer);
        return null;
    }

    private EtcdError? Compact(CompactionRequest request, ReplyHeader header, ReplyWriter? writer)
    {
        EtcdError? error = ReplyEncoder.ToError(Store.Compact(request.Revision));
        WriteHeader(header, writer);
        return error;
    }

    private EtcdError? Grant(LeaseGrantRequest request, ReplyHeader header, ReplyWriter? writer)
    {
        if (request.ID == 0)
        {
            // Whoever proposes chooses one: this was made by no member. etcd: lease/lessor.go Grant
            return EtcdError.LeaseNotFound;
        }

        if (request.TTL > LeaseTtlSecondsMax)
        {
            return EtcdError.LeaseTtlTooLarge;
        }

        long ttl = Math.Max(request.TTL, _leaseTtlSecondsMin);
        if (!Store.Leases.Grant(request.ID, ttl, NowMilliseconds))
        {
            return EtcdError.LeaseExists;
        }

        WriteHeader(header, writer);
        writer?.Number(2, request.ID);
        writer?.Number(3, ttl);
        return null;
    }

    private EtcdError? Revoke(LeaseRevokeRequest request, ReplyHeader header, ReplyWriter? writer)
    {
        Store.BeginWrite();
        bool there = Store.RevokeLease(request.ID);
        Store.EndWrite();
        WriteHeader(header, writer);
        return there ? null : EtcdError.LeaseNotFound;
    }

    private EtcdError? CheckpointLeases(LeaseCheckpointRequest request)
    {
        foreach (LeaseCheckpoint checkpoint in request.Checkpoints)
        {
            Store.Leases.Remember(checkpoint.ID, checkpoint.RemainingTTL);
        }

        return null;
    }

    /// <param name="own">The leader itself sees that the reason is gone, for whichever member it was; a client names one.</param>
    private EtcdError? ChangeAlarm(AlarmRequest request, bool own, ReplyHeader header, ReplyWriter? writer)
    {
        WriteHeader(header, writer);
        switch (request.Action)
        {
            case AlarmRequest.Types.AlarmAction.Activate when request.Alarm != AlarmType.None:
                _alarms.Add((request.MemberID, request.Alarm));
                WriteAlarm(writer, request.MemberID, request.Alarm);
                break;
            case AlarmRequest.Types.AlarmAction.Deactivate:
                foreach ((ulong member, AlarmType alarm) in _alarms.ToArray())
                {
                    bool named = alarm == request.Alarm && (own || member == request.MemberID);
                    if (named && _alarms.Remove((member, alarm)))
                    {
                        WriteAlarm(writer, member, alarm);
                    }
                }

                break;
        }

        return null;
    }

    private EtcdError? Update(Member update, ReplyHeader header, ReplyWriter? writer)
    {
        EtcdError? error = Members.UpdatePeerUrls(update);
        WriteHeader(header, writer);
        return error;
    }

    private EtcdError? ChangeAuth(in Command command, ReplyHeader header, ReplyWriter? writer)
    {
        WriteHeader(header, writer);
        return _auth.Apply(command.Request, EntryIndex, NowMilliseconds, writer) is { } refusal
            ? AuthErrors.Of(refusal)
            : throw new InvalidDataException($"log entry holds a {command.Kind} that nobody applies");
    }

    private EtcdError? SetAttributes(Member attributes)
    {
        Members.SetAttributes(attributes);
        return null;
    }

    private void WriteHeader(ReplyHeader header, ReplyWriter? writer)
    {
        if (writer is not null)
        {
            header.Write(writer, Store.Revision);
        }
    }

    private static void WriteAlarm(ReplyWriter? writer, ulong member, AlarmType alarm) =>
        writer?.Message(2, new AlarmMember { MemberID = member, Alarm = alarm });
}

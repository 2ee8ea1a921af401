using System.Text;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;
using Kapell.Sim.Checks;
using Kapell.Sim.World;

namespace Kapell.Sim;

/// <summary>Asks members for things as the services of the product do, and keeps a record of every question and answer.</summary>
internal sealed class SimClients(Simulation sim)
{
    private readonly List<Operation> _operations = [];
    private int _pending;

    public IReadOnlyList<Operation> Operations => _operations;

    public bool IsBusy => _pending > 0;

    public string Describe() => string.Concat(_operations.Where(static o => o.State == OperationState.Pending).Select(static o => "\n  " + o));

    public Operation Put(int member, string key, string value) => Propose(
        new Operation(_operations.Count, OperationKind.Put, member, key) { Value = value },
        CommandKind.Put, new PutRequest { Key = Bytes(key), Value = Bytes(value) });

    public Operation PutTwo(int member, string key, string other, string value)
    {
        TxnRequest request = new();
        request.Success.Add(PutOp(key, value));
        request.Success.Add(PutOp(other, value + "'"));
        return Propose(new Operation(_operations.Count, OperationKind.PutTwo, member, key) { OtherKey = other, Value = value }, CommandKind.Txn, request);
    }

    public Operation Delete(int member, string key) => Propose(
        new Operation(_operations.Count, OperationKind.Delete, member, key), CommandKind.DeleteRange, new DeleteRangeRequest { Key = Bytes(key) });

    /// <summary>Puts if the key has the expected value; null: if it is not there.</summary>
    public Operation Replace(int member, string key, string? expected, string value)
    {
        TxnRequest request = new();
        request.Compare.Add(expected is null
            ? new Compare { Key = Bytes(key), Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Equal, CreateRevision = 0 }
            : new Compare { Key = Bytes(key), Target = Compare.Types.CompareTarget.Value, Result = Compare.Types.CompareResult.Equal, Value = Bytes(expected) });
        request.Success.Add(PutOp(key, value));
        request.Failure.Add(new RequestOp { RequestRange = new RangeRequest { Key = Bytes(key) } });
        Operation operation = new(_operations.Count, OperationKind.Replace, member, key) { Expected = expected, Value = value };
        return Propose(operation, CommandKind.Txn, request);
    }

    public Operation Grant(int member, long lease, long ttlSeconds)
    {
        sim.Checks.Leases.Asked(lease, ttlSeconds, sim.Agenda.Now);
        return Propose(
            new Operation(_operations.Count, OperationKind.Grant, member, "") { Lease = lease }, CommandKind.LeaseGrant,
            new LeaseGrantRequest { ID = lease, TTL = ttlSeconds });
    }

    public Operation Revoke(int member, long lease)
    {
        sim.Checks.Leases.Revoked(lease);
        return Propose(
            new Operation(_operations.Count, OperationKind.Revoke, member, "") { Lease = lease }, CommandKind.LeaseRevoke, new LeaseRevokeRequest { ID = lease });
    }

    public Operation PutWithLease(int member, string key, string value, long lease) => Propose(
        new Operation(_operations.Count, OperationKind.PutWithLease, member, key) { Value = value, Lease = lease },
        CommandKind.Put, new PutRequest { Key = Bytes(key), Value = Bytes(value), Lease = lease });

    public Operation Compact(int member, long revision, bool physical) => Propose(
        new Operation(_operations.Count, OperationKind.Compact, member, ""), CommandKind.Compact,
        new CompactionRequest { Revision = revision, Physical = physical });

    /// <summary>Puts in one transaction with a read at an old revision: both happen, or neither.</summary>
    public Operation PutReading(int member, string key, string value, long revision)
    {
        TxnRequest request = new();
        request.Success.Add(new RequestOp { RequestRange = new RangeRequest { Key = Bytes(key), Revision = revision } });
        request.Success.Add(PutOp(key, value));
        return Propose(new Operation(_operations.Count, OperationKind.PutTwo, member, key) { Value = value }, CommandKind.Txn, request);
    }

    public Operation Change(int member, Kapell.Raft.ConfChangeKind kind, int subject, Member? entry)
    {
        Operation operation = new(_operations.Count, OperationKind.Change, member, "") { Value = $"{kind} {subject}" };
        return Ask(operation, process => process.Change(kind, subject, entry, operation));
    }

    /// <summary>A change of users and roles, as somebody.</summary>
    public Operation Users(int member, CommandKind kind, IMessage request, Mvcc.Auth.Caller caller = default) => Propose(
        new Operation(_operations.Count, OperationKind.Users, member, "") { Value = kind.ToString() }, kind, request, caller);

    /// <summary>A put as somebody: carried out or refused where it is applied, by the rights of then.</summary>
    public Operation PutAs(int member, string key, string value, Mvcc.Auth.Caller caller) => Propose(
        new Operation(_operations.Count, OperationKind.Put, member, key) { Value = value },
        CommandKind.Put, new PutRequest { Key = Bytes(key), Value = Bytes(value) }, caller);

    /// <summary>Puts only while a key of a lock is there with the revision it was made at: what a lock protects.</summary>
    public Operation PutGuarded(int member, string key, string value, string lockKey, long lockRevision)
    {
        TxnRequest request = new();
        request.Compare.Add(new Compare
        {
            Key = Bytes(lockKey), Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Equal, CreateRevision = lockRevision,
        });
        request.Success.Add(PutOp(key, value));
        return Propose(new Operation(_operations.Count, OperationKind.Guarded, member, key) { Value = value }, CommandKind.Txn, request);
    }

    /// <summary>As RenewHereAsync of the product: whoever leads renews.</summary>
    public void KeepAlive(long lease)
    {
        if (sim.Leader is { Paused: false } leader)
        {
            KeepAliveBy(leader, lease);
        }
    }

    /// <summary>By a member that may be paused: then it renews when it goes on, if it still thinks that it leads.</summary>
    public void KeepAliveBy(MemberProcess leader, long lease) => leader.Input(() =>
    {
        // Without a proof the product asks a majority, which only the newest leader gets.
        bool newest = leader.Replica.Raft.Term.Value == sim.Checks.HighestTerm;
        if (leader.Replica.RenewLease(lease, out bool proven) is > 0 and long ttl && (proven || newest || sim.Breakage.RenewsWithoutProof))
        {
            sim.Checks.Leases.Renewed(lease, ttl);
        }
    });

    /// <summary>A linearizable read.</summary>
    public Operation Get(int member, string key)
    {
        Operation operation = new(_operations.Count, OperationKind.Get, member, key);
        return Ask(operation, process =>
        {
            if (sim.Breakage.ReadsWithoutBarrier)
            {
                operation.Set((EtcdError?)null);
                return;
            }

            process.Turns.Read([operation]);
        });
    }

    public static string? Look(MvccStore store, string key, long revision, out long modified)
    {
        modified = 0;
        if (!store.TryGet(Encoding.UTF8.GetBytes(key), revision, out RecordAddress address))
        {
            return null;
        }

        KeyValueRecord record = store.Read(address);
        modified = record.ModRevision;
        return Encoding.UTF8.GetString(record.Value);
    }

    private Operation Propose(Operation operation, CommandKind kind, IMessage request, Mvcc.Auth.Caller caller = default) =>
        Ask(operation, process => process.Turns.Propose(process.NewProposal(kind, request, operation, caller)));

    private Operation Ask(Operation operation, Action<MemberProcess> ask)
    {
        _operations.Add(operation);
        operation.Begun = sim.Agenda.Turn;
        if (sim.Member(operation.Member)?.Process is not { Ended: false } process)
        {
            operation.Mark(OperationState.Refused, EtcdError.Stopped.Text);
            return operation;
        }

        _pending++;
        operation.Finish = (o, error, reply) => Finish(process, o, error, reply);
        process.Questions.Add(operation);
        process.Input(() => ask(process));

        return operation;
    }

    private void Finish(MemberProcess process, Operation operation, EtcdError? error, Reply? reply)
    {
        _pending--;
        process.Questions.Remove(operation);
        operation.Ended = sim.Agenda.Turn;
        OperationState state = error is null ? OperationState.Done
            : error == EtcdError.Stopped || error == EtcdError.Timeout ? OperationState.Unknown : OperationState.Refused;
        operation.Mark(state, error?.Text);
        if (state == OperationState.Done)
        {
            Understand(process, operation, reply);
        }

        sim.Unseed.Add(((long)operation.Number << 32) | (operation.Revision << 3) | (long)state);
        sim.Unseed.Add(operation.Ended);
    }

    private static void Understand(MemberProcess process, Operation operation, Reply? reply)
    {
        switch (operation.Kind)
        {
            case OperationKind.Get:
                operation.Revision = process.Store.Revision;
                operation.Found = Look(process.Store, operation.Key, 0, out long modified);
                operation.FoundRevision = modified;
                break;
            case OperationKind.Put or OperationKind.PutWithLease:
                operation.Revision = PutResponse.Parser.ParseFrom(reply!.Span).Header.Revision;
                break;
            case OperationKind.Delete:
                DeleteRangeResponse deleted = DeleteRangeResponse.Parser.ParseFrom(reply!.Span);
                (operation.Revision, operation.Succeeded) = (deleted.Header.Revision, deleted.Deleted > 0);
                break;
            case OperationKind.Replace or OperationKind.PutTwo:
                TxnResponse txn = TxnResponse.Parser.ParseFrom(reply!.Span);
                (operation.Revision, operation.Succeeded) = (txn.Header.Revision, txn.Succeeded);
                operation.Found = txn.Succeeded ? null : txn.Responses[0].ResponseRange.Kvs.FirstOrDefault()?.Value.ToStringUtf8();
                break;
        }
    }

    private static RequestOp PutOp(string key, string value) => new() { RequestPut = new PutRequest { Key = Bytes(key), Value = Bytes(value) } };

    private static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);
}

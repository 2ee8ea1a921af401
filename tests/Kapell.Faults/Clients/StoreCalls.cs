using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Faults.World;
using Kapell.Sim.Checks;

namespace Kapell.Faults.Clients;

/// <summary>Calls of members as an etcd client makes them; every one goes into the history with its times.</summary>
internal sealed class StoreCalls(TestCluster cluster, History history)
{
    private const double PatienceSeconds = 4;

    public History History { get; } = history;

    public Task<Operation> PutAsync(int member, string key, long lease = 0)
    {
        string value = History.Unique();
        Operation operation = History.Begin(lease == 0 ? OperationKind.Put : OperationKind.PutWithLease, member, key, value);
        return CallAsync(operation, async options =>
        {
            PutRequest put = new() { Key = Bytes(key), Value = Bytes(value), Lease = lease };
            operation.Revision = (await cluster.Members[member].Kv.PutAsync(put, options)).Header.Revision;
        });
    }

    public Task<Operation> GetAsync(int member, string key)
    {
        Operation operation = History.Begin(OperationKind.Get, member, key);
        return CallAsync(operation, async options =>
        {
            RangeResponse found = await cluster.Members[member].Kv.RangeAsync(new RangeRequest { Key = Bytes(key) }, options);
            operation.Revision = found.Header.Revision;
            operation.Found = found.Kvs.FirstOrDefault()?.Value.ToStringUtf8();
            operation.FoundRevision = found.Kvs.FirstOrDefault()?.ModRevision ?? 0;
        });
    }

    /// <summary>A serializable read; true when it was answered.</summary>
    public async Task<bool> LookAsync(int member, string key)
    {
        try
        {
            RangeResponse found = await cluster.Members[member].Kv.RangeAsync(
                new RangeRequest { Key = Bytes(key), Serializable = true }, TestCluster.Within(PatienceSeconds));
            History.StaleReads.Enqueue(new StaleRead(member, key, found.Kvs.FirstOrDefault()?.Value.ToStringUtf8(), found.Header.Revision));
            return true;
        }
        catch (RpcException)
        {
            return false;
        }
    }

    public Task<Operation> DeleteAsync(int member, string key)
    {
        Operation operation = History.Begin(OperationKind.Delete, member, key);
        return CallAsync(operation, async options =>
        {
            DeleteRangeResponse deleted = await cluster.Members[member].Kv.DeleteRangeAsync(new DeleteRangeRequest { Key = Bytes(key) }, options);
            (operation.Revision, operation.Succeeded) = (deleted.Header.Revision, deleted.Deleted > 0);
        });
    }

    /// <summary>Puts if the key has the expected value; null: if it is not there. Otherwise reads it.</summary>
    public Task<Operation> ReplaceAsync(int member, string key, string? expected)
    {
        string value = History.Unique();
        Operation operation = History.Begin(OperationKind.Replace, member, key, value, expected);
        TxnRequest request = new();
        request.Compare.Add(expected is null
            ? new Compare { Key = Bytes(key), Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Equal, CreateRevision = 0 }
            : new Compare { Key = Bytes(key), Target = Compare.Types.CompareTarget.Value, Result = Compare.Types.CompareResult.Equal, Value = Bytes(expected) });
        request.Success.Add(PutOp(key, value));
        request.Failure.Add(new RequestOp { RequestRange = new RangeRequest { Key = Bytes(key) } });
        return CallAsync(operation, options => TxnAsync(operation, request, options));
    }

    public Task<Operation> PutTwoAsync(int member, string key, string other)
    {
        string value = History.Unique();
        Operation operation = History.Begin(OperationKind.PutTwo, member, key, value, other: other);
        TxnRequest request = new();
        request.Success.Add(PutOp(key, value));
        request.Success.Add(PutOp(other, value + "'"));
        return CallAsync(operation, options => TxnAsync(operation, request, options));
    }

    private static RequestOp PutOp(string key, string value) => new() { RequestPut = new PutRequest { Key = Bytes(key), Value = Bytes(value) } };

    private static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);

    private async Task TxnAsync(Operation operation, TxnRequest request, CallOptions options)
    {
        TxnResponse txn = await cluster.Members[operation.Member].Kv.TxnAsync(request, options);
        (operation.Revision, operation.Succeeded) = (txn.Header.Revision, txn.Succeeded);
        operation.Found = txn.Succeeded ? null : txn.Responses[0].ResponseRange.Kvs.FirstOrDefault()?.Value.ToStringUtf8();
    }

    private static async Task<Operation> CallAsync(Operation operation, Func<CallOptions, Task> call)
    {
        try
        {
            await call(TestCluster.Within(PatienceSeconds));
            operation.Ended = History.Now;
            operation.Mark(OperationState.Done, null);
        }
        catch (RpcException e)
        {
            // These come before anything is proposed; of all others nobody knows.
            bool refused = e.StatusCode is StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.NotFound or StatusCode.OutOfRange
                or StatusCode.ResourceExhausted;
            operation.Mark(refused ? OperationState.Refused : OperationState.Unknown, $"{e.StatusCode}: {e.Status.Detail}");
        }

        return operation;
    }
}

using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Protocol.Locks;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Rpc.Concurrency;

/// <summary>Locks. etcd: api/v3lock/lock.go, concurrency/mutex.go</summary>
public sealed class LockService(Candidacy candidacy) : Protocol.Locks.Lock.LockBase
{
    public override async Task<LockResponse> Lock(LockRequest request, ServerCallContext context)
    {
        try
        {
            return await AcquireAsync(request, context);
        }
        catch (RpcException e)
        {
            throw InnerRefusal.Of(e);
        }
    }

    public override async Task<UnlockResponse> Unlock(UnlockRequest request, ServerCallContext context)
    {
        try
        {
            return new UnlockResponse { Header = (await candidacy.DeleteAsync(request.Key, context)).Header };
        }
        catch (RpcException e)
        {
            throw InnerRefusal.Of(e);
        }
    }

    private async Task<LockResponse> AcquireAsync(LockRequest request, ServerCallContext context)
    {
        long lease = await candidacy.LeaseAsync(request.Lease, context);
        ByteString prefix = Candidacy.PrefixOf(request.Name);
        ByteString key = Candidacy.KeyOf(prefix, lease);
        using Standing.Candidate candidate = await candidacy.Standing.BeginAsync(key, context.CancellationToken);
        RequestOp owner = new() { RequestRange = Candidacy.First(prefix) };
        TxnRequest txn = new() { Compare = { Candidacy.CreatedAt(key, 0) } };
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = key, Lease = lease } });
        txn.Success.Add(owner);
        txn.Failure.Add(new RequestOp { RequestRange = new RangeRequest { Key = key } });
        txn.Failure.Add(owner);
        TxnResponse response = await candidacy.TxnAsync(txn, context);
        long mine = response.Succeeded ? response.Header.Revision : response.Responses[0].ResponseRange.Kvs[0].CreateRevision;
        RangeResponse held = response.Responses[1].ResponseRange;
        if (held.Kvs.Count == 0 || held.Kvs[0].CreateRevision == mine)
        {
            candidate.Won();
            return new LockResponse { Header = response.Header, Key = key };
        }

        RangeResponse still;
        try
        {
            await candidacy.WaitForThoseBeforeAsync(prefix, mine - 1, context);
            still = await candidacy.RangeAsync(new RangeRequest { Key = key }, context);
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException)
        {
            // Who gives up must not stand in the way of those behind.
            await candidate.GiveUpAsync(() => candidacy.DeleteAsync(key, new InnerCall(context, CancellationToken.None)));
            throw;
        }

        if (still.Kvs.Count == 0)
        {
            throw new RpcException(new Status(StatusCode.Unknown, "mutex: session is expired"));
        }

        candidate.Won();
        return new LockResponse { Header = still.Header, Key = key };
    }
}

/// <summary>
/// What the store refuses to locks and elections reaches their client with its text and without its code: upstream returns the error of
/// its own client, which is no status of gRPC.
/// </summary>
internal static class InnerRefusal
{
    public static RpcException Of(RpcException refusal) =>
        refusal.StatusCode == StatusCode.Cancelled ? refusal : new RpcException(new Status(StatusCode.Unknown, refusal.Status.Detail));
}

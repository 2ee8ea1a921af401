using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>KV: checks what a request alone can tell, then reads here or proposes. etcd: api/v3rpc/key.go, v3_server.go</summary>
public sealed class KvService(ReplicaHost host, EtcdLimits limits, Proposer proposer, Authenticator authenticator) : KvServiceBase
{
    private static readonly TimeSpan CompactionLook = TimeSpan.FromMilliseconds(2);

    public override async Task<Reply> Range(RangeRequest request, ServerCallContext context)
    {
        Refuse(RequestChecks.Range(request));
        bool single = request.RangeEnd.IsEmpty;
        if (!request.Serializable)
        {
            Refuse(host.IsLearner ? EtcdError.NotSupportedForLearner(context.RequestHeaders.GetValue(CallGate.ClientVersion)) : null);
            Refuse(await host.ReadBarrierAsync(context.CancellationToken, prompt: single));
        }
        else if (!single)
        {
            // Long, perhaps: not on the thread that hears all sockets.
            await Task.Yield();
        }

        return Range(request, await authenticator.IdentifyAsync(context));
    }

    /// <summary>Since 3.7: a range in pieces, all at the revision of the first. etcd: v3_server.go rangeStream</summary>
    public override async Task RangeStream(RangeRequest request, IServerStreamWriter<Reply> responseStream, ServerCallContext context)
    {
        Refuse(RequestChecks.RangeStream(request));
        if (!request.Serializable)
        {
            Refuse(await host.ReadBarrierAsync(context.CancellationToken));
        }

        RangePieces pieces = new(host, request, await authenticator.IdentifyAsync(context), limits.RequestBytesMax);
        while (pieces.Next() is { } piece)
        {
            await responseStream.WriteAsync(piece, context.CancellationToken);
        }
    }

    public override Task<Reply> Put(PutRequest request, ServerCallContext context)
    {
        Refuse(RequestChecks.Put(request));
        return proposer.ProposeAsync(CommandKind.Put, request, request.CalculateSize(), context);
    }

    public override Task<Reply> DeleteRange(DeleteRangeRequest request, ServerCallContext context)
    {
        Refuse(RequestChecks.DeleteRange(request));
        return proposer.ProposeAsync(CommandKind.DeleteRange, request, growth: 0, context);
    }

    public override async Task<Reply> Txn(TxnRequest request, ServerCallContext context)
    {
        Refuse(RequestChecks.Txn(request, limits.TxnOperationsMax));
        if (!RequestChecks.IsReadOnly(request))
        {
            return await proposer.ProposeAsync(CommandKind.Txn, request, GrowthOf(request), context);
        }

        if (!RequestChecks.IsSerializable(request))
        {
            Refuse(await host.ReadBarrierAsync(context.CancellationToken));
        }
        else
        {
            await Task.Yield();
        }

        Caller caller = await authenticator.IdentifyAsync(context);
        return host.Reading(() => ReadOnlyTxn(request, caller));
    }

    public override async Task<Reply> Compact(CompactionRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        Reply reply = await proposer.ProposeAsync(CommandKind.Compact, request, growth: 0, context);

        // Whoever wants to know waits until it is freed here; the others go on meanwhile. etcd: v3_server.go Compact
        while (request.Physical && host.Reading(() => host.Store.IsCompacting))
        {
            await Task.Delay(CompactionLook, host.Time, context.CancellationToken);
        }

        return reply;
    }

    private static void Refuse(EtcdError? error)
    {
        if (error is not null)
        {
            throw error.ToException();
        }
    }

    /// <summary>Only transactions with puts count against the quota; they may be what makes space otherwise.</summary>
    private static int GrowthOf(TxnRequest request) =>
        request.Success.Concat(request.Failure).Any(static o => o.RequestCase is RequestOp.RequestOneofCase.RequestPut or RequestOp.RequestOneofCase.RequestTxn)
            ? request.CalculateSize()
            : 0;

    private Reply Range(RangeRequest request, in Caller caller)
    {
        long began = host.Time.GetTimestamp();
        bool good = false;
        try
        {
            Reply reply = ReadRange(request, caller);
            good = true;
            return reply;
        }
        finally
        {
            host.Times.Ranges.Observe(host.Time.GetElapsedTime(began).TotalSeconds, good);
        }
    }

    private Reply ReadRange(RangeRequest request, in Caller caller)
    {
        RangeResult result = new();
        host.EnterReading();
        try
        {
            Refuse(host.Replica.Applier.Gate.Judge(request, caller));
            Refuse(ReplyEncoder.ToError(host.Store.Range(ReplyEncoder.ToQuery(request), result)));
            ReplyWriter writer = new(EstimateBytes(request, result));
            host.Header.Write(writer, result.StoreRevision);
            ReplyEncoder.RangeBody(writer, host.Store, result, request.KeysOnly);
            return writer.Finish();
        }
        finally
        {
            host.ExitReading();
        }
    }

    private int EstimateBytes(RangeRequest request, RangeResult result)
    {
        if (result.Records.Count == 0)
        {
            return 64;
        }

        long first = request.KeysOnly ? 64 : host.Store.ReadBytes(result.Records[0]).Length + 8;
        return (int)Math.Min(64 + (first * result.Records.Count), 64 << 20);
    }

    private Reply ReadOnlyTxn(TxnRequest request, in Caller caller)
    {
        Refuse(host.Replica.Applier.Gate.Judge(request, caller));
        TxnExecutor executor = new(host.Store);
        TxnExecutor.Plan plan = executor.Choose(request);
        Refuse(executor.CheckPlan(plan));
        ReplyWriter writer = new();
        host.Header.Write(writer, host.Store.Revision);
        executor.Run(plan, writer);
        return writer.Finish();
    }
}

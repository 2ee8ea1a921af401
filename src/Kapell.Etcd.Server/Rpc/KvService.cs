using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Http2;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>KV: checks what a request alone can tell, then reads here or proposes. etcd: api/v3rpc/key.go, v3_server.go</summary>
public sealed class KvService(ReplicaHost host, EtcdLimits limits, Proposer proposer, Authenticator authenticator) : KvServiceBase
{
    // Of a long range, while nobody can write.
    private const int KeysAtOnce = 2048;
    private const int BytesAtOnce = 16 << 20;
    private const int RecordsPerLook = 16;
    private static readonly TimeSpan PieceTime = TimeSpan.FromMilliseconds(0.5);

    // Bytes of an answer beyond its pairs, of a pair beyond its record, and of one without its value beyond its key: at most.
    private const int EstimateMin = 64;
    private const int PairOverhead = 8;
    private const int KeyOverhead = 64;

    // Of a long answer between two moves into its block, so that the writer's buffer is one of the pool's small ones.
    private const int MovedBytes = 32 << 10;
    private static readonly TimeSpan CompactionLook = TimeSpan.FromMilliseconds(2);
    private readonly SemaphoreSlim _longRange = new(1);

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

        Caller caller = await authenticator.IdentifyAsync(context);
        return Range(request, caller, mayPin: false) ?? await LongRangeAsync(request, caller, context.CancellationToken);
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
        if (RequestChecks.IsNested(request))
        {
            // Some hundred thousand operations, perhaps: not on the thread that hears all sockets.
            await Task.Yield();
        }

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

    /// <summary>
    /// While a compaction wants to free something, long ranges, which keep it from that, come one at a time, with as long a time for it between
    /// them: else they could keep it from it for ever.
    /// </summary>
    private async Task<Reply> LongRangeAsync(RangeRequest request, Caller caller, CancellationToken cancellation)
    {
        await _longRange.WaitAsync(cancellation);
        long began = host.Time.GetTimestamp();
        try
        {
            return Range(request, caller, mayPin: true)!;
        }
        finally
        {
            _ = ReleaseAsync(host.Time.GetElapsedTime(began));
        }
    }

    private async Task ReleaseAsync(TimeSpan rest)
    {
        await Task.Delay(rest, host.Time);
        _longRange.Release();
    }

    /// <summary>Null when it is a long one and must wait for its turn.</summary>
    private Reply? Range(RangeRequest request, in Caller caller, bool mayPin)
    {
        long began = host.Time.GetTimestamp();
        bool ended = true;
        Reply? reply = null;
        try
        {
            reply = ReadRange(request, caller, mayPin);

            // One that waits for its turn is measured when it has it.
            ended = reply is not null;
            return reply;
        }
        finally
        {
            if (ended)
            {
                host.Times.Ranges.Observe(host.Time.GetElapsedTime(began).TotalSeconds, reply is not null);
            }
        }
    }

    private Reply? ReadRange(RangeRequest request, in Caller caller, bool mayPin)
    {
        RangeResult result = new();
        MvccStore store;
        host.EnterReading();
        try
        {
            Refuse(host.Replica.Applier.Gate.Judge(request, caller));
            store = host.Store;
            Refuse(ReplyEncoder.ToError(store.Range(ReplyEncoder.ToQuery(request), result, KeysAtOnce)));
            if (result.IsWhole && WriteAtOnce(store, request, result) is { } whole)
            {
                return whole;
            }

            if (store.IsCompacting && !mayPin)
            {
                return null;
            }

            store.Pin();
        }
        finally
        {
            host.ExitReading();
        }

        try
        {
            return ReadOn(store, request, result);
        }
        finally
        {
            host.PostOwned(store.Unpin);
        }
    }

    /// <summary>Null when it is more than can be written while nobody else does.</summary>
    private Reply? WriteAtOnce(MvccStore store, RangeRequest request, RangeResult result)
    {
        int estimate = EstimateBytes(store, request, result);
        if (estimate > BytesAtOnce)
        {
            return null;
        }

        ReplyWriter writer = new(estimate, BytesAtOnce);
        host.Header.Write(writer, result.StoreRevision);
        ReplyEncoder.RangeBody(writer, store, result, request.KeysOnly);
        if (writer.IsTooLarge)
        {
            writer.Release();
            return null;
        }

        return writer.Finish();
    }

    /// <summary>The rest of a long range, a little at a time: those who write go on between.</summary>
    private Reply ReadOn(MvccStore store, RangeRequest request, RangeResult result)
    {
        while (!result.IsWhole)
        {
            WhileUnchanged(() => store.GoOn(ReplyEncoder.ToQuery(request), result, KeysAtOnce));
        }

        // Measured before it is written: memory that grows is copied, and that takes long. As an array it would wait for a collection of
        // everything, and stay in the pool.
        long size = EstimateMin;
        InPieces(result, i => size += request.KeysOnly
            ? store.Read(result.Records[i]).Key.Length + KeyOverhead
            : store.ReadBytes(result.Records[i]).Length + PairOverhead);
        if (size > Array.MaxLength)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"grpc: trying to send message larger than max ({size} vs. {Array.MaxLength})"));
        }

        NativeBlock block = new(GrpcPayload.PrefixBytes + (int)size);
        ReplyWriter piece = new(MovedBytes);
        int length = 0;
        void Move() => length += piece.MoveTo(block.GetSpan()[(GrpcPayload.PrefixBytes + length)..]);
        try
        {
            host.Header.Write(piece, result.StoreRevision);
            InPieces(result, i =>
            {
                ReplyEncoder.RangeRecords(piece, store, result, request.KeysOnly, i, i + 1);
                if (piece.Length >= MovedBytes)
                {
                    Move();
                }
            });
            ReplyEncoder.RangeEnd(piece, result);
            Move();
            return new Reply(new Lent(null, block), length);
        }
        catch
        {
            new Lent(null, block).GiveBack();
            throw;
        }
        finally
        {
            piece.Release();
        }
    }

    private void InPieces(RangeResult result, Action<int> each)
    {
        for (int next = 0; next < result.Records.Count;)
        {
            WhileUnchanged(() =>
            {
                long began = host.Time.GetTimestamp();
                do
                {
                    each(next++);
                }
                while (next < result.Records.Count && (next % RecordsPerLook != 0 || host.Time.GetElapsedTime(began) < PieceTime));
            });
        }
    }

    private void WhileUnchanged(Action work) => host.WhileUnchanged(() =>
    {
        Refuse(host.IsStopping ? EtcdError.Stopped : null);
        work();
    });

    private static int EstimateBytes(MvccStore store, RangeRequest request, RangeResult result)
    {
        if (result.Records.Count == 0)
        {
            return EstimateMin;
        }

        long first = request.KeysOnly ? EstimateMin : store.ReadBytes(result.Records[0]).Length + PairOverhead;
        return (int)Math.Min(EstimateMin + (first * result.Records.Count), int.MaxValue);
    }

    private Reply ReadOnlyTxn(TxnRequest request, in Caller caller)
    {
        Refuse(host.Replica.Applier.Gate.Judge(request, caller));
        TxnExecutor executor = new(host.Store);
        TxnExecutor.Plan plan = executor.Choose(request);
        Refuse(executor.CheckPlan(plan));
        ReplyWriter writer = new(bytesMax: Applier.ReplyBytesMax);
        host.Header.Write(writer, host.Store.Revision);
        executor.Run(plan, writer);
        if (writer.IsTooLarge)
        {
            writer.Release();
            throw EtcdError.ReplyTooLarge(Applier.ReplyBytesMax).ToException();
        }

        return writer.Finish();
    }
}

using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Protocol.Elections;
using Kapell.Etcd.Server.Calls;

namespace Kapell.Etcd.Server.Rpc.Concurrency;

/// <summary>Elections. etcd: api/v3election/election.go, concurrency/election.go</summary>
public sealed class ElectionService(Candidacy candidacy) : Election.ElectionBase
{
    private const string NoLeader = "election: no leader";
    private const string NotLeader = "election: not leader";
    private const string MissingLeader = "\"leader\" field must be provided";

    public override Task<CampaignResponse> Campaign(CampaignRequest request, ServerCallContext context) =>
        ToldAsync(() => CampaignAsync(request, context));

    public override Task<ProclaimResponse> Proclaim(ProclaimRequest request, ServerCallContext context) => ToldAsync(async () =>
    {
        LeaderKey leader = request.Leader ?? throw Refusal(MissingLeader);
        leader.Lease = await candidacy.LeaseAsync(leader.Lease, context);
        return new ProclaimResponse { Header = (await ProclaimAsync(leader, request.Value, context)).Header };
    });

    public override Task<LeaderResponse> Leader(LeaderRequest request, ServerCallContext context) => ToldAsync(async () =>
    {
        RangeResponse first = await candidacy.RangeAsync(Candidacy.First(Candidacy.PrefixOf(request.Name)), context);
        return first.Kvs.Count > 0 ? new LeaderResponse { Header = first.Header, Kv = first.Kvs[0] } : throw Refusal(NoLeader);
    });

    public override Task<ResignResponse> Resign(ResignRequest request, ServerCallContext context) => ToldAsync(async () =>
    {
        LeaderKey leader = request.Leader ?? throw Refusal(MissingLeader);
        return new ResignResponse { Header = (await ResignAsync(leader, context)).Header };
    });

    /// <summary>The leader's value now, each later one, and that of each later leader.</summary>
    public override async Task Observe(LeaderRequest request, IServerStreamWriter<LeaderResponse> responseStream, ServerCallContext context)
    {
        ByteString prefix = Candidacy.PrefixOf(request.Name);
        try
        {
            while (true)
            {
                LeaderResponse leader = await FirstLeaderAsync(prefix, context);
                await responseStream.WriteAsync(leader, context.CancellationToken);
                await FollowAsync(leader, responseStream, context);
            }
        }
        catch (RpcException e)
        {
            throw InnerRefusal.Of(e);
        }
    }

    private static RpcException Refusal(string text) => new(new Status(StatusCode.Unknown, text));

    private static async Task<T> ToldAsync<T>(Func<Task<T>> work)
    {
        try
        {
            return await work();
        }
        catch (RpcException e)
        {
            throw InnerRefusal.Of(e);
        }
    }

    private async Task<CampaignResponse> CampaignAsync(CampaignRequest request, ServerCallContext context)
    {
        long lease = await candidacy.LeaseAsync(request.Lease, context);
        ByteString prefix = Candidacy.PrefixOf(request.Name);
        ByteString key = Candidacy.KeyOf(prefix, lease);
        using Standing.Candidate candidate = await candidacy.Standing.BeginAsync(key, context.CancellationToken);
        TxnRequest txn = new() { Compare = { Candidacy.CreatedAt(key, 0) } };
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = key, Value = request.Value, Lease = lease } });
        txn.Failure.Add(new RequestOp { RequestRange = new RangeRequest { Key = key } });
        TxnResponse response = await candidacy.TxnAsync(txn, context);
        LeaderKey leader = new() { Name = request.Name, Key = key, Rev = response.Header.Revision, Lease = lease };
        ResponseHeader header = response.Header;
        try
        {
            if (!response.Succeeded)
            {
                KeyValue before = response.Responses[0].ResponseRange.Kvs[0];
                leader.Rev = before.CreateRevision;
                if (before.Value != request.Value)
                {
                    await ProclaimAsync(leader, request.Value, context);
                }
            }

            await candidacy.WaitForThoseBeforeAsync(prefix, leader.Rev - 1, context);
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException)
        {
            if (context.CancellationToken.IsCancellationRequested)
            {
                await candidate.GiveUpAsync(() => ResignAsync(leader, new InnerCall(context, CancellationToken.None)));
            }

            throw;
        }

        candidate.Won();
        return new CampaignResponse { Header = header, Leader = leader };
    }

    private async Task<TxnResponse> ProclaimAsync(LeaderKey leader, ByteString value, ServerCallContext context)
    {
        TxnRequest txn = new() { Compare = { Candidacy.CreatedAt(leader.Key, leader.Rev) } };
        txn.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = leader.Key, Value = value, Lease = leader.Lease } });
        TxnResponse response = await candidacy.TxnAsync(txn, context);
        return response.Succeeded ? response : throw Refusal(NotLeader);
    }

    private async Task<TxnResponse> ResignAsync(LeaderKey leader, ServerCallContext context)
    {
        TxnRequest txn = new() { Compare = { Candidacy.CreatedAt(leader.Key, leader.Rev) } };
        txn.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = leader.Key } });
        return await candidacy.TxnAsync(txn, context);
    }

    private async Task<LeaderResponse> FirstLeaderAsync(ByteString prefix, ServerCallContext context)
    {
        RangeResponse first = await candidacy.RangeAsync(Candidacy.First(prefix), context);
        if (first.Kvs.Count > 0)
        {
            return new LeaderResponse { Header = first.Header, Kv = first.Kvs[0] };
        }

        WatchCreateRequest request = new() { Key = prefix, RangeEnd = Candidacy.End(prefix), StartRevision = first.Header.Revision };
        await using StoreWatch watch = candidacy.Watch(request, context);
        while (true)
        {
            WatchResponse response = await watch.NextAsync(context.CancellationToken);
            if (response.Events.FirstOrDefault(static e => e.Type == Event.Types.EventType.Put) is { } put)
            {
                ResponseHeader header = response.Header;
                header.Revision = put.Kv.ModRevision;
                return new LeaderResponse { Header = header, Kv = put.Kv };
            }
        }
    }

    private async Task FollowAsync(LeaderResponse leader, IServerStreamWriter<LeaderResponse> responses, ServerCallContext context)
    {
        WatchCreateRequest request = new() { Key = leader.Kv.Key, StartRevision = leader.Header.Revision + 1 };
        await using StoreWatch watch = candidacy.Watch(request, context);
        while (true)
        {
            WatchResponse response = await watch.NextAsync(context.CancellationToken);
            foreach (Event change in response.Events)
            {
                if (change.Type == Event.Types.EventType.Delete)
                {
                    return;
                }

                await responses.WriteAsync(new LeaderResponse { Header = response.Header, Kv = change.Kv }, context.CancellationToken);
            }
        }
    }
}

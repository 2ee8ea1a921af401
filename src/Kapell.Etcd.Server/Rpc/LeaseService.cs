using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Leases. etcd: api/v3rpc/lease.go</summary>
public sealed class LeaseService(ReplicaHost host, Proposer proposer, LeaderCalls leader, LeaseIds ids) : Lease.LeaseBase
{
    public override async Task<LeaseGrantResponse> LeaseGrant(LeaseGrantRequest request, ServerCallContext context)
    {
        LeaseGrantRequest granted = request.Clone();
        if (granted.ID == 0)
        {
            granted.ID = ids.Next();
        }

        Reply reply = await proposer.ProposeAsync(CommandKind.LeaseGrant, granted, granted.CalculateSize(), context.CancellationToken);
        return LeaseGrantResponse.Parser.ParseFrom(reply.Span);
    }

    public override async Task<LeaseRevokeResponse> LeaseRevoke(LeaseRevokeRequest request, ServerCallContext context)
    {
        Reply reply = await proposer.ProposeAsync(CommandKind.LeaseRevoke, request, growth: 0, context.CancellationToken);
        return LeaseRevokeResponse.Parser.ParseFrom(reply.Span);
    }

    public override async Task LeaseKeepAlive(
        IAsyncStreamReader<LeaseKeepAliveRequest> requestStream,
        IServerStreamWriter<LeaseKeepAliveResponse> responseStream,
        ServerCallContext context)
    {
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            long id = requestStream.Current.ID;
            (EtcdError? error, LeaseKeepAliveResponse? response) = await leader.RenewAsync(id, context.CancellationToken);
            await responseStream.WriteAsync(error is null ? response! : throw error.ToException(), context.CancellationToken);
        }
    }

    public override async Task<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseTimeToLiveRequest request, ServerCallContext context)
    {
        (EtcdError? error, LeaseTimeToLiveResponse? response) = await leader.TimesAsync(request, context.CancellationToken);
        return error is null ? response! : throw error.ToException();
    }

    public override async Task<LeaseLeasesResponse> LeaseLeases(LeaseLeasesRequest request, ServerCallContext context)
    {
        await BarrierAsync(context);
        return host.Reading(() =>
        {
            LeaseLeasesResponse response = new() { Header = host.Header.ToMessage(host.Store.Revision) };
            response.Leases.AddRange(host.Store.Leases.All().Select(static l => new LeaseStatus { ID = l.Id }));
            return response;
        });
    }

    private async Task BarrierAsync(ServerCallContext context)
    {
        EtcdError? error = await host.ReadBarrierAsync(context.CancellationToken);
        if (error is not null)
        {
            throw error.ToException();
        }
    }
}

/// <summary>Numbers for leases whose client left the choice to us: positive and not guessable from one another.</summary>
public sealed class LeaseIds(Prng prng)
{
    private readonly Lock _lock = new(); // Guards the generator.

    public long Next()
    {
        lock (_lock)
        {
            return (long)(prng.NextUInt64() & long.MaxValue) | 1;
        }
    }
}

using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Leases. etcd: api/v3rpc/lease.go</summary>
public sealed class LeaseService(ReplicaHost host, Proposer proposer, LeaseIds ids) : Lease.LeaseBase
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
            LeaseKeepAliveResponse response = await host.OwnAsync(replica => Renew(replica, id), context.CancellationToken);
            await responseStream.WriteAsync(response, context.CancellationToken);
        }
    }

    public override async Task<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseTimeToLiveRequest request, ServerCallContext context)
    {
        await BarrierAsync(context);
        return host.Reading(() =>
        {
            LeaseTimeToLiveResponse response = new() { Header = host.Header.ToMessage(host.Store.Revision), ID = request.ID };
            bool found = host.Store.Leases.TryGetTimes(request.ID, host.NowMilliseconds, out long granted, out long remaining);
            response.GrantedTTL = granted;
            response.TTL = remaining;
            if (found && request.Keys)
            {
                response.Keys.AddRange(host.Store.KeysOfLease(request.ID).Select(static k => Google.Protobuf.UnsafeByteOperations.UnsafeWrap(k)));
            }

            return response;
        });
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

    private static LeaseKeepAliveResponse Renew(Replica replica, long id)
    {
        if (replica.Raft.Role != Raft.Role.Leader)
        {
            throw EtcdError.NoLeader.ToException();
        }

        MvccStore store = replica.Applier.Store;
        return new LeaseKeepAliveResponse
        {
            Header = replica.Header.ToMessage(store.Revision),
            ID = id,

            // etcd: lease.go: a lease that is not there is answered with TTL 0, not with an error.
            TTL = Math.Max(0, store.Leases.Renew(id, replica.Applier.NowMilliseconds)),
        };
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

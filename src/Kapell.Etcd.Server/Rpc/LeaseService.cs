using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Leases. etcd: api/v3rpc/lease.go</summary>
public sealed class LeaseService(ReplicaHost host, Proposer proposer, LeaderCalls leader, LeaseIds ids, Authenticator authenticator) : Lease.LeaseBase
{
    public override async Task<LeaseGrantResponse> LeaseGrant(LeaseGrantRequest request, ServerCallContext context)
    {
        LeaseGrantRequest granted = request.Clone();
        if (granted.ID == 0)
        {
            granted.ID = ids.Next();
        }

        await authenticator.RequireCallerAsync(context);
        Reply reply = await proposer.ProposeAsync(CommandKind.LeaseGrant, granted, granted.CalculateSize(), context);
        return LeaseGrantResponse.Parser.ParseFrom(reply.Span);
    }

    public override async Task<LeaseRevokeResponse> LeaseRevoke(LeaseRevokeRequest request, ServerCallContext context)
    {
        await authenticator.RequireCallerAsync(context);
        Reply reply = await proposer.ProposeAsync(CommandKind.LeaseRevoke, request, growth: 0, context);
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
            await PermitAsync(context, (gate, caller) => gate.JudgeLeaseWrite(id, caller));
            (EtcdError? error, LeaseKeepAliveResponse? response) = await leader.RenewAsync(id, context.CancellationToken);
            await responseStream.WriteAsync(error is null ? response! : throw error.ToException(), context.CancellationToken);
        }
    }

    public override async Task<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseTimeToLiveRequest request, ServerCallContext context)
    {
        if (!request.Keys)
        {
            await authenticator.RequireCallerAsync(context);
        }

        ulong? judged = request.Keys ? await PermitAsync(context, (gate, caller) => gate.JudgeLeaseRead(request.ID, caller)) : null;
        (EtcdError? error, LeaseTimeToLiveResponse? response) = await leader.TimesAsync(request, context.CancellationToken);
        if (error is null && judged is not null && judged != host.Replica.Applier.Auth.Revision)
        {
            // The keys may be others than those that were judged.
            error = EtcdError.AuthOldRevision;
        }

        return error is null ? response! : throw error.ToException();
    }

    public override async Task<LeaseLeasesResponse> LeaseLeases(LeaseLeasesRequest request, ServerCallContext context)
    {
        await BarrierAsync(context);
        await PermitAsync(context, (gate, caller) => host.Store.Leases.All().Select(l => gate.JudgeLeaseRead(l.Id, caller)).FirstOrDefault(static e => e is not null));
        return host.Reading(() =>
        {
            LeaseLeasesResponse response = new() { Header = host.Header.ToMessage(host.Store.Revision) };
            response.Leases.AddRange(host.Store.Leases.All().Select(static l => new LeaseStatus { ID = l.Id }));
            return response;
        });
    }

    /// <summary>Refuses who is nobody, and whom the gate refuses; the revision of the users at which it was judged, or null without them.</summary>
    private async Task<ulong?> PermitAsync(ServerCallContext context, Func<AuthGate, Caller, EtcdError?> judge)
    {
        if (!authenticator.Enabled)
        {
            return null;
        }

        Caller caller = await authenticator.IdentifyAsync(context);
        (EtcdError? refusal, ulong revision) = host.Reading(
            () => (caller.IsNobody ? EtcdError.UserEmpty : judge(host.Replica.Applier.Gate, caller), host.Replica.Applier.Auth.Revision));
        return refusal is null ? revision : throw refusal.ToException();
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

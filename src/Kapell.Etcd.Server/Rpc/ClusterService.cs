using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Membership. etcd: api/v3rpc/member.go, server.go AddMember and its like</summary>
public sealed class ClusterService(
    ReplicaHost host, Proposer proposer, LeaderCalls leader, MembershipRules rules, Authenticator authenticator) : Cluster.ClusterBase
{
    // What kapell's own command says beside etcd's request: the dead voter's number, in hexadecimal.
    private const string ReplacesHeader = "kapell-replaces";

    public override async Task<MemberListResponse> MemberList(MemberListRequest request, ServerCallContext context)
    {
        if (request.Linearizable)
        {
            Refuse(await host.ReadBarrierAsync(context.CancellationToken));
        }

        await authenticator.RequireCallerAsync(context);
        return host.Reading(() =>
        {
            // etcd: the header of this response has no revision.
            MemberListResponse response = new() { Header = host.Header.ToMessage(0) };
            response.Members.AddRange(host.Replica.Applier.Members.All);
            return response;
        });
    }

    public override async Task<MemberAddResponse> MemberAdd(MemberAddRequest request, ServerCallContext context)
    {
        string[] urls = Urls(request.PeerURLs);
        await authenticator.RequireAdministratorAsync(context);
        Member member = new() { ID = rules.NewMemberId(urls), IsLearner = request.IsLearner };
        member.PeerURLs.AddRange(urls);
        ConfChangeKind kind = request.IsLearner ? ConfChangeKind.AddLearner : ConfChangeKind.AddVoter;
        _ = PeerProtocol.TryHex(context.RequestHeaders.GetValue(ReplacesHeader), out ulong replaced);
        Refuse(rules.JudgeAdd(member, replaced));
        Refuse((await host.ChangeMembershipAsync(kind, member.ID, member, context.CancellationToken)).Error);
        MemberAddResponse response = new() { Header = host.Header.ToMessage(0), Member = member };
        response.Members.AddRange(Members());
        return response;
    }

    public override async Task<MemberRemoveResponse> MemberRemove(MemberRemoveRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        Refuse(rules.JudgeRemove(request.ID));
        Refuse((await host.ChangeMembershipAsync(ConfChangeKind.Remove, request.ID, null, context.CancellationToken)).Error);
        MemberRemoveResponse response = new() { Header = host.Header.ToMessage(0) };
        response.Members.AddRange(Members());
        return response;
    }

    public override async Task<MemberUpdateResponse> MemberUpdate(MemberUpdateRequest request, ServerCallContext context)
    {
        // Who asks and whom it is about come first, as in etcd, which then takes any address, or none; here they must be some.
        await authenticator.RequireAdministratorAsync(context);
        Refuse(Members().Any(m => m.ID == request.ID) ? null : EtcdError.MemberNotFound);
        Member update = new() { ID = request.ID };
        update.PeerURLs.AddRange(Urls(request.PeerURLs));
        await proposer.ProposeAsync(CommandKind.MemberUpdate, update, growth: 0, context);
        MemberUpdateResponse response = new() { Header = host.Header.ToMessage(0) };
        response.Members.AddRange(Members());
        return response;
    }

    public override async Task<MemberPromoteResponse> MemberPromote(MemberPromoteRequest request, ServerCallContext context)
    {
        await authenticator.RequireAdministratorAsync(context);
        (EtcdError? error, MemberPromoteResponse? reply) = await leader.PromoteAsync(request.ID, context.CancellationToken);
        Refuse(error);
        return reply!;
    }

    private Member[] Members() => host.Reading(() => host.Replica.Applier.Members.All.ToArray());

    private static string[] Urls(IEnumerable<string> given)
    {
        string[] urls = [.. given.Order(StringComparer.Ordinal)];
        bool good = urls.Length > 0 && urls.All(static u => Http.ListenAddress.WrongWith(u) is null);
        return good ? urls : throw EtcdError.MemberBadUrls.ToException();
    }

    private static void Refuse(EtcdError? error)
    {
        if (error is not null)
        {
            throw error.ToException();
        }
    }
}

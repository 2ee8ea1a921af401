using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>The members of the cluster. Changing them needs more than one member: refused until that is built.</summary>
public sealed class ClusterService(ReplicaHost host) : Cluster.ClusterBase
{
    private const string Refusal = "etcdserver: changing the membership is not supported by this version of Kapell (single member)";

    public override async Task<MemberListResponse> MemberList(MemberListRequest request, ServerCallContext context)
    {
        if (request.Linearizable)
        {
            EtcdError? error = await host.ReadBarrierAsync(context.CancellationToken);
            if (error is not null)
            {
                throw error.ToException();
            }
        }

        return host.Reading(() =>
        {
            // etcd: the header of this response has no revision.
            MemberListResponse response = new() { Header = host.Header.ToMessage(0) };
            response.Members.AddRange(host.Replica.Applier.Members.All);
            return response;
        });
    }

    public override Task<MemberAddResponse> MemberAdd(MemberAddRequest request, ServerCallContext context) => throw Refused();

    public override Task<MemberRemoveResponse> MemberRemove(MemberRemoveRequest request, ServerCallContext context) => throw Refused();

    public override Task<MemberUpdateResponse> MemberUpdate(MemberUpdateRequest request, ServerCallContext context) => throw Refused();

    public override Task<MemberPromoteResponse> MemberPromote(MemberPromoteRequest request, ServerCallContext context) => throw Refused();

    private static RpcException Refused() => new(new Status(StatusCode.Unimplemented, Refusal));
}

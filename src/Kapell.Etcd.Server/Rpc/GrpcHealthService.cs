using Grpc.Core;
using Kapell.Etcd.Protocol.GrpcHealth;
using ServingStatus = Kapell.Etcd.Protocol.GrpcHealth.HealthCheckResponse.Types.ServingStatus;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// The health of the whole server, which is the empty name: it serves from when its port opens. etcd: api/v3rpc/health.go
/// </summary>
public sealed class GrpcHealthService : Health.HealthBase
{
    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context) => request.Service.Length == 0
        ? Task.FromResult(new HealthCheckResponse { Status = ServingStatus.Serving })
        : throw new RpcException(new Status(StatusCode.NotFound, "unknown service"));

    public override async Task Watch(
        HealthCheckRequest request, IServerStreamWriter<HealthCheckResponse> responseStream, ServerCallContext context)
    {
        ServingStatus status = request.Service.Length == 0 ? ServingStatus.Serving : ServingStatus.ServiceUnknown;
        await responseStream.WriteAsync(new HealthCheckResponse { Status = status }, context.CancellationToken);

        // It does not change any more; the call lasts until either side goes.
        TaskCompletionSource never = new();
        await never.Task.WaitAsync(context.CancellationToken);
    }
}

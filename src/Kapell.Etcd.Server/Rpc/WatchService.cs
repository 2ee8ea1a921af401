using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Watches: each call is a stream of its own.</summary>
public sealed class WatchService(ReplicaHost host, EtcdLimits limits, WatchCounts counts) : WatchServiceBase
{
    public override async Task Watch(
        IAsyncStreamReader<WatchRequest> requestStream, IServerStreamWriter<Reply> responseStream, ServerCallContext context)
    {
        using WatchStream stream = new(host, limits, counts);
        counts.Stream(1);
        try
        {
            await stream.RunAsync(requestStream, responseStream, context.CancellationToken);
        }
        finally
        {
            counts.Stream(-1);
        }
    }
}

using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc.Auth;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Watches: each call is a stream of its own.</summary>
public sealed class WatchService(ReplicaHost host, EtcdLimits limits, WatchCounts counts, Authenticator authenticator) : WatchServiceBase
{
    public override async Task Watch(
        IAsyncStreamReader<WatchRequest> requestStream, IServerStreamWriter<Reply> responseStream, ServerCallContext context)
    {
        using WatchStream stream = new(host, limits, counts, request => JudgeAsync(request, context));
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

    /// <summary>Why the watch may not be, or null. The one key, or the whole range, must be permitted. etcd: watch.go isWatchPermitted</summary>
    private async ValueTask<string?> JudgeAsync(WatchCreateRequest request, ServerCallContext context)
    {
        if (!authenticator.Enabled)
        {
            return null;
        }

        RpcException? refused;
        try
        {
            Caller caller = await authenticator.IdentifyAsync(context);
            byte[] key = Watcher.KeyOf(request);
            byte[] end = request.RangeEnd.ToByteArray();
            refused = AuthErrors.Of(host.Reading(() => host.Replica.Applier.Auth.JudgeRead(caller, key, end)))?.ToException();
        }
        catch (RpcException e)
        {
            refused = e;
        }

        // As Go prints a status.
        return refused is null ? null : $"rpc error: code = {refused.StatusCode} desc = {refused.Status.Detail}";
    }
}

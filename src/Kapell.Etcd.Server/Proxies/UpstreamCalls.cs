using System.Net.Sockets;
using Grpc.Core;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>Single calls of the members, as bytes: of the next one, and of those after it when it says nothing.</summary>
internal sealed class UpstreamCalls(Upstreams upstreams)
{
    /// <summary>How many members there are to turn to.</summary>
    public int Members => Math.Max(1, upstreams.Endpoints.Count);

    /// <summary>The answer of the next member, or of one after it when that says nothing.</summary>
    /// <param name="method">Which.</param>
    /// <param name="sent">The request.</param>
    /// <param name="options">Headers, deadline and cancellation.</param>
    /// <param name="isReader">Nothing happens twice if it is sent again to another member, after one did not answer.</param>
    /// <exception cref="RpcException">As a member said it, or as no member can be reached.</exception>
    public async Task<byte[]> AskAsync(Method<byte[], byte[]> method, byte[] sent, CallOptions options, bool isReader)
    {
        RpcException last = new(new Status(StatusCode.Unavailable, "no endpoint is known"));
        foreach (Upstream upstream in upstreams.InOrder())
        {
            try
            {
                using AsyncUnaryCall<byte[]> call = upstream.Channel.CreateCallInvoker().AsyncUnaryCall(method, null, options, sent);
                byte[] answer = await call;
                upstreams.Heard(upstream);
                return answer;
            }
            catch (Exception e) when (IsLost(e, options.CancellationToken))
            {
                last = Plain(e, upstream);
                upstreams.Suspect(upstream, last.Status.Detail);
                if (!isReader && e is RpcException failed && !NeverSent(failed))
                {
                    break;
                }
            }
        }

        throw last;
    }

    /// <summary>What a client said beside its request, for the members.</summary>
    public static CallOptions OptionsOf(ServerCallContext context)
    {
        Metadata headers = [];
        foreach (Metadata.Entry entry in context.RequestHeaders)
        {
            // What belongs to the client's own connection stays here.
            if (entry.Key is not ("user-agent" or "host" or "content-length"))
            {
                headers.Add(entry);
            }
        }

        DateTime? deadline = context.Deadline == DateTime.MaxValue ? null : context.Deadline;
        return new CallOptions(headers, deadline, context.CancellationToken);
    }

    /// <summary>No member said this: it does not answer, or it has left the cluster and its channel was closed, with what the client library says then.</summary>
    private static bool IsLost(Exception e, CancellationToken client) => !client.IsCancellationRequested
        && e is ObjectDisposedException or RpcException { StatusCode: StatusCode.Unavailable or StatusCode.Cancelled };

    /// <summary>The status as the member gave it, without what the client library adds; which member does not answer, and why, when it is one that does not.</summary>
    public static RpcException Plain(Exception e, Upstream upstream) => e is RpcException { StatusCode: not StatusCode.Cancelled } told
        ? Plain(told, upstream)
        : new RpcException(new Status(StatusCode.Unavailable, $"etcd grpc-proxy: {upstream.Address} does not answer, or is no member any more"));

    private static RpcException Plain(RpcException e, Upstream upstream) => new(
        new Status(e.StatusCode, e.Status.DebugException is not { } here ? e.Status.Detail
            : NeverSent(e) ? $"etcd grpc-proxy: cannot connect to {upstream.Address}: {here.Message}"
            : $"etcd grpc-proxy: the connection to {upstream.Address} broke: {here.Message}"), e.Trailers);

    // A channel says by a bare SocketException that it could not connect; what breaks later is wrapped.
    private static bool NeverSent(RpcException e) => e.Status.DebugException is SocketException
        or HttpRequestException { HttpRequestError: HttpRequestError.ConnectionError or HttpRequestError.SecureConnectionError or HttpRequestError.NameResolutionError };
}

using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Proxies;

/// <summary>
/// Reads through a proxy never go back in time, whichever member answers: of one that is behind what was answered before, another is asked.
/// Otherwise serializable reads by turns at different members may. etcd: client/v3/ordering
/// </summary>
internal sealed class OrderedReads(TimeProvider time)
{
    // Enough for each member to be asked, though others' calls take turns too, and to catch up a little.
    private const int RoundsMax = 5;
    private static readonly TimeSpan RoundPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan RecoveryPatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RecoveryPause = TimeSpan.FromSeconds(1);

    private long _seen; // The newest revision of an answer.

    /// <summary>
    /// What the cluster has now, which a proxy before this one may have shown. Ends when a member has answered; where users are needed, which
    /// this is none of, the answer is a refusal and what is newest shows in the first read of a client.
    /// </summary>
    /// <exception cref="OperationCanceledException">The proxy stops.</exception>
    public async Task RecoverAsync(Upstreams upstreams, ILogger logger, CancellationToken stopping)
    {
        Log.RecoveringOrder(logger);
        while (true)
        {
            Upstream upstream = upstreams.InOrder()[0];
            try
            {
                RangeRequest nothing = new() { Key = ByteString.CopyFromUtf8("_"), KeysOnly = true };
                RangeResponse newest = await new KV.KVClient(upstream.Channel).RangeAsync(
                    nothing, deadline: (time.GetUtcNow() + RecoveryPatience).UtcDateTime, cancellationToken: stopping);
                Saw(newest.Header.Revision);
                return;
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.InvalidArgument or StatusCode.PermissionDenied or StatusCode.Unauthenticated)
            {
                Log.OrderUnknown(logger, e.Status.Detail);
                return;
            }
            catch (RpcException e)
            {
                stopping.ThrowIfCancellationRequested();
                Log.OrderNotRecovered(logger, UpstreamCalls.Plain(e, upstream).Status.Detail);
            }

            await Task.Delay(RecoveryPause, time, stopping);
        }
    }

    /// <summary>Whether answers of the method are held to it: <paramref name="fullName"/> as "/service/method".</summary>
    public static bool Concerns(string fullName) => fullName is "/etcdserverpb.KV/Range" or "/etcdserverpb.KV/Txn";

    /// <summary>The answer, of no older a revision than any that was given before the call. What writes is never asked twice: its revision is the newest.</summary>
    /// <param name="ask">Asks the next member.</param>
    /// <param name="members">How many there are.</param>
    /// <param name="cancellation">Of the call.</param>
    /// <exception cref="RpcException">All members are behind.</exception>
    public async Task<byte[]> ReadAsync(Func<Task<byte[]>> ask, int members, CancellationToken cancellation)
    {
        long before = Interlocked.Read(ref _seen);
        for (int round = 0; round < RoundsMax; round++)
        {
            if (round > 0)
            {
                await Task.Delay(RoundPause * round, time, cancellation);
            }

            for (int i = 0; i < members; i++)
            {
                byte[] answer = await ask();
                long revision = RevisionOf(answer);
                if (revision >= before)
                {
                    Saw(revision);
                    return answer;
                }
            }
        }

        throw new RpcException(new Status(
            StatusCode.Unknown, "etcdclient: no cluster members have a revision higher than the previously received revision"));
    }

    private void Saw(long revision)
    {
        long seen = Interlocked.Read(ref _seen);
        while (revision > seen && Interlocked.CompareExchange(ref _seen, revision, seen) != seen)
        {
            seen = Interlocked.Read(ref _seen);
        }
    }

    /// <summary>Of the header, the first field of every answer.</summary>
    private static long RevisionOf(byte[] answer)
    {
        try
        {
            CodedInputStream input = new(answer);
            while (input.ReadTag() is var tag and not 0)
            {
                if (WireFormat.GetTagFieldNumber(tag) == RangeResponse.HeaderFieldNumber)
                {
                    return ResponseHeader.Parser.ParseFrom(input.ReadBytes()).Revision;
                }

                input.SkipLastField();
            }
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"etcd grpc-proxy: a member's answer is no message: {e.Message}"));
        }

        return 0;
    }
}

using Google.Protobuf;
using Kapell.Etcd.Server.Hosting;
using Kapell.Raft;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>
/// Before clients are served: what this member has, as far as its own disk says it was committed, against the others that answer. Who does
/// not answer, or has compacted what we hold, cannot accuse us. etcd: corrupt.go InitialCheck
/// </summary>
internal static class InitialComparison
{
    private static readonly TimeSpan ApplyPause = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    /// <exception cref="InvalidDataException">The content differs; the message says where.</exception>
    public static async Task RunAsync(ReplicaHost host, PeerComparison members, LogIndex committed, ILogger logger, CancellationToken cancellation)
    {
        CareLog.InitialCheckBegins(logger, committed);
        long began = host.Time.GetTimestamp();
        while (host.Replica.AppliedPosition.Index < committed && host.Time.GetElapsedTime(began) < Patience)
        {
            await Task.Delay(ApplyPause, host.Time, cancellation);
        }

        MemberComparison comparison = new(members);
        ByteString? next = ByteString.Empty;
        int compared = 1;
        while (next is not null)
        {
            PieceOutcome outcome = await comparison.PieceAsync(next, cancellation);
            if (outcome.Difference is { } difference)
            {
                throw new InvalidDataException(
                    $"{host.Header.MemberId:x} found data inconsistency with peers: {difference}; remove the member that is damaged and add it anew, "
                    + "or start without the initial corruption check");
            }

            compared = Math.Max(compared, outcome.Compared);
            next = outcome.Next;
        }

        CareLog.InitialCheckPassed(logger, compared - 1);
    }
}

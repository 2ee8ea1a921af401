using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Microsoft.Extensions.Logging;
using Role = Kapell.Raft.Role;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>
/// The leader goes over all keys with the other members, again and again, at a hundredth of one core at most, and raises the alarm for who
/// differs. etcd: server/etcdserver/corrupt.go, which hashes the whole store at a time and names neither key nor revision.
/// </summary>
internal sealed class ComparisonLoop(ReplicaHost host, PeerComparison members, ComparisonState state, TimeSpan interval, ILogger logger)
{
    // Pauses between stretches, as a multiple of the time that the last one took here; a follower's share is alike.
    private const int Idleness = 100;
    private static readonly TimeSpan PauseMin = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    public async Task RunAsync(CancellationToken cancellation)
    {
        if (interval <= TimeSpan.Zero)
        {
            return;
        }

        try
        {
            while (true)
            {
                long began = host.Time.GetTimestamp();
                await RoundAsync(cancellation);
                TimeSpan rest = interval - host.Time.GetElapsedTime(began);
                await Task.Delay(rest > LookAgain ? rest : LookAgain, host.Time, cancellation);
            }
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // The member stops.
        }
    }

    private bool Leads => host.Replica.Raft.Role == Role.Leader && members.Count > 1;

    private async Task RoundAsync(CancellationToken cancellation)
    {
        if (!host.Reading(() => host.Replica.Applier.HasAlarm(AlarmType.Corrupt)))
        {
            state.Forget();
        }

        MemberComparison comparison = new(members);
        ByteString? next = ByteString.Empty;
        bool whole = true;
        while (next is not null && Leads)
        {
            TimeSpan before = members.OwnTime;
            PieceOutcome outcome = await comparison.PieceAsync(next, cancellation);
            state.Compared(outcome.Compared > 1);
            whole &= outcome.Compared == members.Count;
            if (outcome.Difference is { } difference)
            {
                await AccuseAsync(difference, cancellation);
            }

            next = outcome.Next;
            TimeSpan pause = (members.OwnTime - before) * Idleness;
            await Task.Delay(pause > PauseMin ? pause : PauseMin, host.Time, cancellation);
        }

        if (next is null && whole)
        {
            state.WholeRound(host.Time.GetUtcNow());
        }
    }

    private async Task AccuseAsync(Difference difference, CancellationToken cancellation)
    {
        if (state.Found(difference))
        {
            CareLog.MembersDiffer(logger, difference.ToString());
        }

        foreach (ulong member in difference.Accused)
        {
            if (host.Reading(() => host.Replica.Applier.Alarms.Contains((member, AlarmType.Corrupt))))
            {
                continue;
            }

            AlarmRequest alarm = new() { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = member, Alarm = AlarmType.Corrupt };
            ApplyOutcome outcome = await host.ProposeAsync(CommandKind.Alarm, alarm, cancellation, host.Replica.Self);
            if (outcome.Error is { } error)
            {
                // Comes up again with the next round.
                CareLog.AlarmNotRaised(logger, member.ToString("x", System.Globalization.CultureInfo.InvariantCulture), error.Text);
            }
        }
    }
}

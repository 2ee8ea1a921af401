using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Sends a write through the log, within the limits of size and space.</summary>
public sealed class Proposer(ReplicaHost host, EtcdLimits limits, ILogger<Proposer> logger)
{
    // etcd: storage/quota.go: what a key costs beyond its bytes.
    private const int KeyOverheadBytes = 256;

    private int _alarming;

    /// <param name="growth">Bytes by which the store may grow; 0 for what needs none.</param>
    public async Task<Reply> ProposeAsync(CommandKind kind, IMessage request, int growth, CancellationToken cancellation)
    {
        if (request.CalculateSize() > limits.RequestBytesMax)
        {
            throw EtcdError.RequestTooLarge.ToException();
        }

        if (growth > 0 && limits.QuotaBytes > 0 && host.Store.LiveBytes + growth + KeyOverheadBytes > limits.QuotaBytes)
        {
            await RaiseAlarmAsync(cancellation);
            throw EtcdError.NoSpace.ToException();
        }

        ApplyOutcome outcome = await host.ProposeAsync(kind, request, cancellation);
        return outcome.Error is null ? outcome.Reply! : throw outcome.Error.ToException();
    }

    private async Task RaiseAlarmAsync(CancellationToken cancellation)
    {
        ulong self = host.Header.MemberId;
        bool raised = host.Reading(() => host.Replica.Applier.Alarms.Contains((self, AlarmType.Nospace)));
        if (raised || Interlocked.Exchange(ref _alarming, 1) == 1)
        {
            return;
        }

        try
        {
            Log.NoSpace(logger, host.Store.LiveBytes, limits.QuotaBytes);
            AlarmRequest request = new() { Action = AlarmRequest.Types.AlarmAction.Activate, MemberID = self, Alarm = AlarmType.Nospace };
            await host.ProposeAsync(CommandKind.Alarm, request, cancellation);
        }
        finally
        {
            Volatile.Write(ref _alarming, 0);
        }
    }
}

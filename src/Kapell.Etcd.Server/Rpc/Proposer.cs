using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Rpc.Authentication;
using Kapell.Mvcc.Auth;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Sends a write through the log, within the limits of size and space.</summary>
public sealed class Proposer(ReplicaHost host, EtcdLimits limits, Authenticator authenticator, ILogger<Proposer> logger)
{
    // etcd: storage/quota.go: what a key costs beyond its bytes.
    private const int KeyOverheadBytes = 256;

    private int _alarming;

    /// <param name="growth">Bytes by which the store may grow; 0 for what needs none.</param>
    public Task<Reply> ProposeAsync(CommandKind kind, IMessage request, int growth, ServerCallContext context)
    {
        if (growth > 0 && limits.QuotaBytes > 0 && host.Store.LiveBytes + growth + KeyOverheadBytes > limits.QuotaBytes)
        {
            return RefuseForSpaceAsync(context.CancellationToken);
        }

        ValueTask<Caller> caller = authenticator.IdentifyAsync(context);
        return caller.IsCompletedSuccessfully ? ProposeFor(caller.Result, kind, request, context) : IdentifiedAsync(caller, kind, request, context);
    }

    /// <summary>For what needs no space, with the rights of one who is known already.</summary>
    /// <param name="prompt">What follows the answer is short: see <see cref="ReplicaHost.ProposeAsync"/>.</param>
    public async Task<Reply> ProposeAsync(CommandKind kind, IMessage request, Caller caller, CancellationToken cancellation, bool prompt = false)
    {
        if (request.CalculateSize() > limits.RequestBytesMax)
        {
            throw EtcdError.RequestTooLarge.ToException();
        }

        ApplyOutcome outcome = await host.ProposeAsync(kind, request, cancellation, caller, prompt);
        return outcome.Error is null ? outcome.Reply! : throw outcome.Error.ToException();
    }

    private async Task<Reply> IdentifiedAsync(ValueTask<Caller> caller, CommandKind kind, IMessage request, ServerCallContext context) =>
        await ProposeFor(await caller, kind, request, context);

    private Task<Reply> ProposeFor(Caller caller, CommandKind kind, IMessage request, ServerCallContext context) =>
        ProposeAsync(kind, request, caller, context.CancellationToken, prompt: kind is CommandKind.Put or CommandKind.DeleteRange or CommandKind.Txn);

    private async Task<Reply> RefuseForSpaceAsync(CancellationToken cancellation)
    {
        await RaiseAlarmAsync(cancellation);
        throw EtcdError.NoSpace.ToException();
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

using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// Before a member stops that leads: the most advanced of the other voters that are connected leads instead, so that nobody has to find
/// out by waiting. etcd: server.go TryTransferLeadershipOnShutdown
/// </summary>
internal static class Handover
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>Ends when another leads, when there is none to, or when it takes too long.</summary>
    public static async Task RunAsync(ReplicaHost host, Func<ulong, bool> isConnected)
    {
        using CancellationTokenSource late = new(Patience, host.Time);
        try
        {
            MemberId successor = await host.OwnAsync(
                replica => replica.Raft.Role != Kapell.Raft.Role.Leader ? MemberId.None : replica.Raft.Status().Members
                    .Where(m => m.Id != replica.Raft.Id && replica.Raft.ConfState.Voters.Contains(m.Id) && isConnected(m.Id.Value))
                    .OrderByDescending(static m => m.Match.Value).ThenBy(static m => m.Id).Select(static m => m.Id).FirstOrDefault(),
                late.Token);
            if (!successor.IsNone)
            {
                await host.MoveLeaderAsync(successor, late.Token);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or TimeoutException)
        {
            // The others find out by themselves.
            return;
        }
    }
}

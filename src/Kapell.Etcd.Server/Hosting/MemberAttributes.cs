using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>Tells the cluster this member's name and client addresses when they changed. etcd: server.go publishV3</summary>
internal static class MemberAttributes
{
    /// <summary>Whether an earlier life of the member has told them, so far as it knows.</summary>
    public static bool AreKnown(ReplicaHost host) =>
        host.Reading(() => host.Replica.Applier.Members.Find(host.Header.MemberId)) is { ClientURLs.Count: > 0 };

    /// <returns>False when the member stopped before it could.</returns>
    public static async Task<bool> PublishAsync(ReplicaHost host, EtcdOptions options, CancellationToken cancellation)
    {
        try
        {
            await host.Ready.WaitAsync(cancellation);
            while (await host.ReadBarrierAsync(cancellation) is not null)
            {
                // No leader yet: the barrier waits for one, and says so after its time.
            }

            ulong self = host.Header.MemberId;
            Member? known = host.Reading(() => host.Replica.Applier.Members.Find(self));
            if (known is not null && known.Name == options.Name && known.ClientURLs.SequenceEqual(options.AdvertiseClientUrls))
            {
                return true;
            }

            Member attributes = new() { ID = self, Name = options.Name };
            attributes.ClientURLs.AddRange(options.AdvertiseClientUrls);
            ApplyOutcome outcome;
            do
            {
                outcome = await host.ProposeAsync(CommandKind.MemberAttributes, attributes, cancellation);
            }
            while (outcome.Error is not null && outcome.Error != EtcdError.Stopped);
            return outcome.Error is null;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Stopped before it was said: the next start says it.
            return false;
        }
    }
}

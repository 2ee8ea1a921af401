using System.Diagnostics;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Faults.World;
using Kapell.Sim.Checks;
using Member = Kapell.Faults.World.Member;

namespace Kapell.Faults.Clients;

/// <summary>Clients that ask one thing after another, each of the member that answered last; and clients that hold leases.</summary>
internal sealed class Load(TestCluster cluster, StoreCalls calls, CancellationToken stop)
{
    private const int Keys = 6;
    private const long TtlSeconds = 3;
    private static readonly TimeSpan AfterRefusal = TimeSpan.FromMilliseconds(30);

    public async Task AskAsync(Prng prng)
    {
        Dictionary<string, string?> seen = [];
        int member = prng.NextInt(0, cluster.Members.Count);
        while (!stop.IsCancellationRequested)
        {
            string key = $"{calls.History.Prefix}k{prng.NextInt(0, Keys)}";
            bool answered = true;
            int choice = prng.NextInt(0, 100);
            if (choice < 12)
            {
                answered = await calls.LookAsync(member, key);
            }
            else
            {
                Operation operation = await AskOneAsync(member, key, choice, seen.GetValueOrDefault(key));
                answered = operation.State == OperationState.Done;
                if (answered && operation.Kind == OperationKind.Get)
                {
                    seen[key] = operation.Found;
                }
            }

            if (!answered || prng.Chance(0.02))
            {
                member = prng.NextInt(0, cluster.Members.Count);
                await Task.Delay(answered ? TimeSpan.Zero : AfterRefusal, CancellationToken.None);
            }

            await Task.Delay(prng.NextInt(0, 24), CancellationToken.None);
        }
    }

    /// <summary>Takes a lease, binds a key to it, keeps it alive for a while, then revokes it or lets it end.</summary>
    public async Task HoldLeasesAsync(Prng prng)
    {
        while (!stop.IsCancellationRequested)
        {
            Member member = cluster.Members[prng.NextInt(0, cluster.Members.Count)];
            try
            {
                long asked = Stopwatch.GetTimestamp();
                long id = (await member.Leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = TtlSeconds }, TestCluster.Within(3))).ID;
                string key = $"{calls.History.Prefix}lease{id:x}";
                LeaseLife life = calls.History.LeaseOf(key);
                life.Asked(asked, TtlSeconds);
                await calls.PutAsync(prng.NextInt(0, cluster.Members.Count), key, id);
                for (int i = prng.NextInt(0, 6); i > 0 && !stop.IsCancellationRequested; i--)
                {
                    await Task.Delay(prng.NextInt(100, 1500), CancellationToken.None);
                    await RenewAsync(cluster.Members[prng.NextInt(0, cluster.Members.Count)], id, life);
                }

                if (prng.Chance(0.3))
                {
                    life.EndWanted = true;
                    await member.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = id }, TestCluster.Within(3));
                }
            }
            catch (Exception e) when (e is RpcException or IOException)
            {
                await Task.Delay(AfterRefusal, CancellationToken.None);
            }
        }
    }

    private static async Task RenewAsync(Member member, long id, LeaseLife life)
    {
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> call = member.Leases.LeaseKeepAlive(TestCluster.Within(3));
        long asked = Stopwatch.GetTimestamp();
        await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = id });
        if (await call.ResponseStream.MoveNext(CancellationToken.None) && call.ResponseStream.Current.TTL > 0)
        {
            life.Asked(asked, call.ResponseStream.Current.TTL);
        }
    }

    private Task<Operation> AskOneAsync(int member, string key, int choice, string? seen) => choice switch
    {
        < 40 => calls.PutAsync(member, key),
        < 66 => calls.GetAsync(member, key),
        < 73 => calls.DeleteAsync(member, key),
        < 92 => calls.ReplaceAsync(member, key, seen),
        _ => calls.PutTwoAsync(member, key, $"{calls.History.Prefix}k{Keys}"),
    };
}

using Xunit;

namespace Kapell.Etcd.Tests.Raft;

public sealed class RandomNetworkTests
{
    [Theory]
    [InlineData(1, 30)]
    [InlineData(3, 140)]
    [InlineData(5, 40)]
    public void Promises_hold_under_loss_reorder_crashes_and_slow_disks_and_the_cluster_recovers(int members, int seeds)
    {
        for (ulong seed = 1; seed <= (ulong)seeds; seed++)
        {
            TestNetwork network = new(members, seed, slowDisk: true) { DropChance = 0.1, DuplicateChance = 0.1 };
            try
            {
                for (int i = 0; i < 1500; i++)
                {
                    network.RandomStep(i);
                }

                network.Heal();
                network.Tick(60);
                network.Elect();
                network.Propose("after");
                network.Tick(30);
                network.CheckConverged();
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"members {members}, seed {seed}: {e.Message}\n{network.Describe()}", e);
            }
        }
    }
}

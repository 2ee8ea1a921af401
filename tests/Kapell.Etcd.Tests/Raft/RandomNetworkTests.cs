using Xunit;

namespace Kapell.Etcd.Tests.Raft;

public sealed class RandomNetworkTests
{
    [Theory]
    [InlineData(1, 30, false)]
    [InlineData(3, 120, false)]
    [InlineData(5, 30, false)]
    [InlineData(3, 60, true)]
    public void Promises_hold_under_loss_reorder_crashes_and_slow_disks_and_the_cluster_recovers(
        int members, int seeds, bool changesMembership)
    {
        for (ulong seed = 1; seed <= (ulong)seeds; seed++)
        {
            TestNetwork network = new(members, seed, slowDisk: true) { DropChance = 0.1, DuplicateChance = 0.1 };
            if (changesMembership)
            {
                network.ChangesMembership = true;
                network.Join(members + 1);
                network.Join(members + 2);
            }

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

using Kapell.Base;
using Kapell.Faults.World;

namespace Kapell.Faults.Rounds;

/// <summary>Does random faults, several at once, each to a member that no other fault holds at that time.</summary>
internal sealed class Nemesis(TestCluster cluster, FaultCounts counts, Prng prng)
{
    private const string WallClockJump = "wall-clock";
    private const string DiskFull = "the disk is full";
    private const int CheckpointFailuresMax = 4; // One and what a new life of the member tries.
    private readonly HashSet<int> _held = [];
    private readonly List<string> _story = [];
    private readonly Lock _lock = new();

    private static readonly (string Name, int Weight)[] Kinds =
    [
        ("kill", 14), ("pause", 14), ("cut", 8), ("one-way-cut", 8), ("delay", 8), ("loss", 8), ("slow-disk", 6), ("power-loss", 12),
        ("full-disk", 4), ("clock", 4), ("restart", 4), (WallClockJump, 6),
    ];

    /// <summary>What was done, in order of its beginning.</summary>
    public string Story => string.Join(' ', _story);

    /// <summary>Several faults that begin within two seconds and last up to three.</summary>
    public async Task MixAsync()
    {
        List<Task> running = [];
        for (int i = prng.NextInt(2, 6); i > 0; i--)
        {
            string kind = Pick();
            Prng own = prng.Split();
            int wait = prng.NextInt(0, 2000);
            running.Add(Task.Run(async () =>
            {
                await Task.Delay(wait);
                await DoAsync(kind, own);
            }));
        }

        await Task.WhenAll(running);
    }

    /// <summary>One fault of the kind to some member, and its end.</summary>
    public async Task DoAsync(string kind, Prng own)
    {
        int? taken = Hold(own);
        if (taken is not { } member)
        {
            return;
        }

        counts.Add(kind);
        lock (_lock)
        {
            _story.Add($"{kind}({member})");
        }

        int lasts = own.NextInt(200, 3000);
        try
        {
            await DoAsync(kind, cluster.Members[member], lasts, own);
        }
        finally
        {
            lock (_lock)
            {
                _held.Remove(member);
            }
        }
    }

    /// <summary>The power of all members goes at the same time.</summary>
    public async Task AllLosePowerAsync()
    {
        counts.Add("power-loss-of-all");
        _story.Add("power-loss-of-all");
        await Task.WhenAll(cluster.Members.Select(m => Task.Run(() => LosePower(m, prng.Chance(0.5)))));
        foreach (Member member in cluster.Members)
        {
            cluster.Start(member.Index);
        }
    }

    private static void LosePower(Member member, bool processFirst)
    {
        // Either the process is gone before the disk, or it still sees the disk fail and must not go on.
        if (processFirst)
        {
            member.Pause();
        }

        member.MayEnd = true;
        member.Note("the power goes");
        member.Disk.PowerOff();
        if (!processFirst)
        {
            Thread.Sleep(150);
        }

        member.Kill();
        member.Disk.Unmount();
    }

    private async Task DoAsync(string kind, Member member, int milliseconds, Prng own)
    {
        Network network = cluster.Network;
        switch (kind)
        {
            case "kill":
                member.Kill();
                await Task.Delay(milliseconds);
                cluster.Start(member.Index);
                break;
            case "restart":
                member.Terminate();
                cluster.Start(member.Index);
                break;
            case "clock":
                member.Kill();
                cluster.Start(member.Index, TimeSpan.FromSeconds(own.NextInt(1, 100_000_000)));
                break;
            case WallClockJump:
                member.SetWallClock(TimeSpan.FromSeconds(own.NextInt(-100_000, 100_000)));
                await Task.Delay(milliseconds);
                member.SetWallClock(TimeSpan.Zero);
                break;
            case "pause":
                member.Pause();
                await Task.Delay(milliseconds);
                member.Resume();
                break;
            case "cut":
                network.Cut([member.Index], [.. Others(member)]);
                await Task.Delay(milliseconds);
                network.Join();
                break;
            case "one-way-cut":
                int[] others = [.. Others(member).Where(_ => own.Chance(0.7))];
                foreach (int other in others)
                {
                    network.CutOneWay(own.Chance(0.5) ? member.Index : other, member.Index == other ? member.Index : other);
                }

                await Task.Delay(milliseconds);
                network.Join();
                break;
            case "delay":
                network.Delay(member.Index, TimeSpan.FromMilliseconds(own.NextInt(5, 150)), own);
                await Task.Delay(milliseconds);
                network.Hurry(member.Index);
                break;
            case "loss":
                network.Lose(member.Index, own.NextInt(2, 40));
                await Task.Delay(milliseconds);
                network.Hurry(member.Index);
                break;
            case "slow-disk":
                member.Disk.SlowDown(own.NextInt(5, 60));
                await Task.Delay(milliseconds);
                member.Disk.SpeedUp();
                break;
            case "full-disk":
                member.MayEnd = true;
                member.Note(DiskFull);
                member.Disk.Fill(own.NextInt(0, 3) << 20);
                await FillLogAsync(member);
                await Task.Delay(milliseconds);
                member.Note("the disk is empty");
                member.Disk.Empty();
                SaysItOnce(member);
                RestartEnded(member, "no space");
                break;
            default:
                LosePower(member, own.Chance(0.5));
                await Task.Delay(milliseconds);
                cluster.Start(member.Index);
                break;
        }
    }

    /// <summary>A checkpoint that found no room must not be begun again and again.</summary>
    private void SaysItOnce(Member member)
    {
        string words = member.LastWords(1 << 20);
        int failures = words[Math.Max(0, words.LastIndexOf(DiskFull, StringComparison.Ordinal))..].Split("a checkpoint failed").Length - 1;
        if (failures > CheckpointFailuresMax)
        {
            throw cluster.Fail($"{member.Name} tried {failures} checkpoints on a full disk");
        }
    }

    /// <summary>A member that could not go on has to say why.</summary>
    private void RestartEnded(Member member, string reason)
    {
        if (!member.Runs)
        {
            counts.Add("full-disk-ended-it");
            string words = member.LastWords();
            if (!words.Contains(reason, StringComparison.OrdinalIgnoreCase))
            {
                throw cluster.Fail($"{member.Name} ended without the words \"{reason}\"");
            }

            cluster.Start(member.Index);
        }

        member.MayEnd = false;
    }

    // Enough for the log to need another segment.
    private async Task FillLogAsync(Member member)
    {
        byte[] value = new byte[1 << 20];
        for (int i = 0; i < 80 && member.Runs; i++)
        {
            try
            {
                await member.Kv.PutAsync(
                    new Etcd.Protocol.PutRequest { Key = TestCluster.Bytes($"big/{i % 4}"), Value = Google.Protobuf.ByteString.CopyFrom(value) }, TestCluster.Within(1));
            }
            catch (Grpc.Core.RpcException)
            {
                // With others in trouble too, there may be no leader.
                await Task.Delay(30);
            }
        }
    }

    private IEnumerable<int> Others(Member member) => cluster.Members.Select(static m => m.Index).Where(i => i != member.Index);

    private string Pick()
    {
        (string Name, int Weight)[] kinds = [.. Kinds.Where(k => k.Name != WallClockJump || cluster.HasWallClocks)];
        int at = prng.NextInt(0, kinds.Sum(static k => k.Weight));
        return kinds.First(k => (at -= k.Weight) < 0).Name;
    }

    // The leader is worth more than others: half of the time it is the one.
    private int? Hold(Prng own)
    {
        lock (_lock)
        {
            int[] free = [.. Enumerable.Range(0, cluster.Members.Count).Where(i => !_held.Contains(i))];
            if (free.Length == 0)
            {
                return null;
            }

            int chosen = free[own.NextInt(0, free.Length)];
            _held.Add(chosen);
            return chosen;
        }
    }
}

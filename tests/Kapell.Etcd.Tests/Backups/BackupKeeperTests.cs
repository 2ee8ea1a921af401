using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Etcd.Tests.Backups;

/// <summary>What a running member writes to its backups, over several lives of it and of its cluster.</summary>
public sealed class BackupKeeperTests : IDisposable
{
    private const ulong Cluster = 7;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly string _root = Directory.CreateTempSubdirectory("kapell-keeper-").FullName;
    private readonly FileDisk _disk = new();
    private readonly List<string> _warnings = [];
    private int _restored;

    private string Backups => Path.Combine(_root, "backups");

    private string Member => BackupPlace.MemberDirectory(Backups, Cluster, 1);

    [Fact]
    public async Task A_cluster_that_is_founded_anew_is_backed_up_beside_what_the_old_one_left()
    {
        DateTimeOffset old = default;
        long oldest = await LiveAsync("old", async life =>
        {
            await life.PutAsync("old", 30);
            await life.UntilSafeAsync();
            old = TimeProvider.System.GetUtcNow();
            await life.UntilSafeAsync();
        });
        long newest = await LiveAsync("new", async life =>
        {
            await life.PutAsync("new", 3);
            await life.UntilSafeAsync();
        });
        Assert.True(newest < oldest);
        Assert.Single(BackupPlace.Of(Member));
        Assert.Single(BackupPlace.Of(BackupHistory.Of(Member)[^1].Directory));
        Assert.Equal(newest, Restore(default).Revision);
        Assert.Contains("has several histories", Assert.Single(_warnings), StringComparison.Ordinal);
        Assert.Equal(oldest, Restore(new RestorePoint(null, old)).Revision);
        Assert.Equal(oldest, Restore(new RestorePoint(oldest, null)).Revision);
        RestoredBackup both = Restore(new RestorePoint(newest, null));
        Assert.Equal(newest, both.Revision);
        Assert.Contains(BackupHistory.Of(Member)[^1].Directory, _warnings[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_member_that_has_the_same_entries_later_on_is_still_not_the_old_one()
    {
        await LiveAsync("old", async life =>
        {
            await life.PutAsync("old", 5);
            await life.UntilSafeAsync();
        });

        // It has as many entries when it begins to back up, of the same terms.
        await LiveAsync("new", static life => life.PutAsync("new", 20), backs: false);
        long newest = await LiveAsync("new", async life =>
        {
            await life.PutAsync("new", 3);
            await life.UntilSafeAsync();
        });
        Assert.Equal(2, BackupHistory.Of(Member).Count);
        Assert.Equal(newest, Restore(default).Revision);
    }

    [Fact]
    public async Task A_member_that_is_started_again_goes_on_with_what_it_has()
    {
        long last = 0;
        for (int i = 0; i < 4; i++)
        {
            last = await LiveAsync("same", async life =>
            {
                await life.PutAsync("k", i == 2 ? 0 : 10);
                await life.UntilSafeAsync();
            });
        }

        Assert.Single(BackupHistory.Of(Member));
        Assert.Single(BackupPlace.Of(Member));
        Assert.Equal(last, Restore(default).Revision);
        Assert.Empty(_warnings);
    }

    [Theory]
    [InlineData("backup.json")]
    [InlineData("log/0000000000000001.wal")]
    public async Task What_cannot_be_read_is_left_alone_and_a_new_one_is_begun(string file)
    {
        await LiveAsync("same", async life =>
        {
            await life.PutAsync("k", 10);
            await life.UntilSafeAsync();
        });
        BackupPlace damaged = Assert.Single(BackupPlace.Of(Member));
        using (FileStream stream = new(Path.Combine(damaged.Directory, file), FileMode.Open))
        {
            stream.Position = file == "backup.json" ? 0 : 500;
            stream.WriteByte((byte)'?');
        }

        long last = await LiveAsync("same", async life =>
        {
            for (int i = 0; i < 3; i++)
            {
                await life.PutAsync("k", 2);
                await life.UntilSafeAsync();
                await Task.Delay(TimeSpan.FromSeconds(1), TestContext.Current.CancellationToken);
            }

            Assert.Equal(0, life.Keeper!.Failures);
        }, interval: TimeSpan.FromMilliseconds(1), retention: TimeSpan.FromMilliseconds(1));
        Assert.Equal(file == "backup.json", Directory.Exists(damaged.Directory));
        Assert.InRange(BackupHistory.Of(Member).Sum(h => BackupPlace.Of(h.Directory).Count), 1, 4);
        Assert.Equal(last, Restore(default).Revision);
    }

    [Fact]
    public async Task A_member_that_is_cut_off_does_not_say_that_nothing_happened()
    {
        await LiveAsync("cut", async life =>
        {
            await Task.Delay(TimeSpan.FromSeconds(4), TestContext.Current.CancellationToken);
            Assert.NotEqual(0, life.Keeper!.TakenSeconds);
            Assert.Equal(0, life.Keeper.ReachesSeconds);
        }, members: 2);
        using ReplayedBackup replayed = new BackupReplay(_disk, default).Run(Assert.Single(BackupPlace.Of(Member)), []);
        Assert.InRange(replayed.Until, replayed.From.TakenAt.AddMilliseconds(-1), replayed.From.TakenAt.AddSeconds(1));
    }

    [Fact]
    public async Task What_was_left_out_with_nothing_after_it_is_noticed()
    {
        long last = await LiveAsync("gap", async life =>
        {
            await life.PutAsync("k", 3);
            await life.UntilSafeAsync();
            life.Host.Backups = null;
            await life.PutAsync("k", 3);
            life.Host.Backups = life.Keeper;
            await life.UntilSafeAsync();
        });
        Assert.Equal(2, BackupPlace.Of(Member).Count);
        Assert.Single(BackupHistory.Of(Member));
        Assert.Equal(last, Restore(default).Revision);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    /// <summary>A life of the member with this data; gives the revision at its end.</summary>
    private async Task<long> LiveAsync(
        string data, Func<Life, Task> work, bool backs = true, int members = 1, TimeSpan? interval = null, TimeSpan? retention = null)
    {
        ReplicaSettings settings = new()
        {
            DataDirectory = Path.Combine(_root, data),
            Founding = new Founding(Cluster, 1, [.. Enumerable.Range(1, members).Select(static i => new Member { ID = (ulong)i })]),
            TickMilliseconds = 20,
            SegmentBytes = 1 << 20,
        };
        Prng prng = new((ulong)TimeProvider.System.GetTimestamp());
        LoadedReplica loaded = ReplicaLoader.Load(_disk, settings, prng.Split());
        await using ReplicaHost host = new(loaded, _disk, settings, 1000, TimeProvider.System, prng.Split(), NullLogger.Instance);
        BackupSettings kept = new(Backups, interval ?? TimeSpan.FromHours(1), retention ?? TimeSpan.FromHours(1));
        await using BackupKeeper? keeper = backs ? new BackupKeeper(_disk, kept, host, NullLogger.Instance) : null;
        host.Backups = keeper;
        host.Start();
        keeper?.Start();
        if (members == 1)
        {
            await host.Ready.WaitAsync(Patience, TestContext.Current.CancellationToken);
        }

        await work(new Life(host, keeper));
        return host.Reading(() => host.Store.Revision);
    }

    private RestoredBackup Restore(RestorePoint point)
    {
        RestoreSettings settings = new()
        {
            DataDirectory = Path.Combine(_root, "restored", $"{_restored++}"), Name = "one", PeerUrls = ["http://one:1"],
            InitialCluster = [("one", ["http://one:1"])], ClusterToken = "t",
        };
        return BackupRestore.Run(_disk, Backups, point, settings, _warnings.Add);
    }

    private sealed record Life(ReplicaHost Host, BackupKeeper? Keeper)
    {
        public async Task PutAsync(string key, int count)
        {
            for (int i = 0; i < count; i++)
            {
                PutRequest put = new() { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8($"{i}") };
                ApplyOutcome outcome = await Host.ProposeAsync(CommandKind.Put, put, TestContext.Current.CancellationToken);
                Assert.Null(outcome.Error);
            }
        }

        public async Task UntilSafeAsync()
        {
            long now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
            using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            late.CancelAfter(Patience);
            while (Keeper!.ReachesSeconds <= now)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), late.Token);
            }
        }
    }
}

using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>A snapshot saved from one program is restored by the other, and nothing is lost on the way.</summary>
public sealed class SnapshotTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public static TheoryData<StoreKind, StoreKind> Ways =>
        new MatrixTheoryData<StoreKind, StoreKind>([StoreKind.Kapell, StoreKind.Upstream], [StoreKind.Kapell, StoreKind.Upstream]);

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Every_revision_key_and_lease_arrives(StoreKind from, StoreKind to)
    {
        using Scratch scratch = new();
        HashKVResponse saved;
        Dictionary<long, RangeResponse> history = [];
        using (StoreClient store = new(await StoreProcess.StartAsync(from, Cancellation)))
        {
            foreach ((_, Func<StoreClient, Task> part) in History.Parts)
            {
                await part(store);
            }

            long lease = (await store.GrantAsync(0x9999, 5000)).ID;
            await store.PutAsync("last", "leased", lease);
            await store.PutAsync("large", new string('x', 700_000));
            saved = await HashAsync(store);
            for (long revision = saved.CompactRevision; revision <= saved.Header.Revision; revision++)
            {
                history[revision] = await store.RangeAsync(Everything(revision));
            }

            Assert.Contains("Snapshot saved at", await EtcdctlAsync($"--endpoints=127.0.0.1:{store.Process.Port}", "snapshot", "save", scratch.File), StringComparison.Ordinal);
        }

        await RestoreAsync(to, scratch.File, scratch.Data);
        using StoreClient restored = new(await StoreProcess.StartAsync(to, Cancellation, scratch.Data));
        HashKVResponse hash = await HashAsync(restored);
        Assert.Equal((saved.Header.Revision, saved.CompactRevision, saved.Hash), (hash.Header.Revision, hash.CompactRevision, hash.Hash));
        foreach ((long revision, RangeResponse then) in history)
        {
            Assert.Equal(then.Kvs, (await restored.RangeAsync(Everything(revision))).Kvs);
        }

        LeaseLeasesResponse leases = await restored.Leases.LeaseLeasesAsync(new LeaseLeasesRequest(), cancellationToken: Cancellation);
        Assert.Equal([History.OtherLease, History.Lease, 0x9999], leases.Leases.Select(l => l.ID).Order());
        LeaseTimeToLiveResponse times = await restored.Leases.LeaseTimeToLiveAsync(
            new LeaseTimeToLiveRequest { ID = 0x9999, Keys = true }, cancellationToken: Cancellation);
        Assert.Equal((5000, "last"), (times.GrantedTTL, Assert.Single(times.Keys).ToStringUtf8()));
        MemberListResponse members = await restored.Cluster.MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation);
        Assert.Equal(13195394291058371180UL, Assert.Single(members.Members).ID);
        PutResponse next = await restored.PutAsync("next", "1");
        Assert.Equal(saved.Header.Revision + 1, next.Header.Revision);
        await restored.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = 0x9999 }, cancellationToken: Cancellation);
        Assert.Empty((await restored.GetAsync("last")).Kvs);
        restored.Process.Kill();
        using StoreClient again = new(await StoreProcess.StartAsync(to, Cancellation, scratch.Data));
        Assert.Equal(next.Header.Revision + 1, await again.RevisionAsync());
    }

    [Fact]
    public async Task It_is_of_one_moment_though_writes_go_on()
    {
        using Scratch scratch = new();
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        for (int i = 0; i < 300; i++)
        {
            await store.PutAsync($"k{i:d3}", new string('v', 5000));
        }

        // Two keys that every transaction gives the same value.
        await store.PutAsync("left", "");
        await store.PutAsync("right", "");
        using CancellationTokenSource enough = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        Task writing = Task.Run(
            async () =>
            {
                for (int i = 0; !enough.IsCancellationRequested; i++)
                {
                    ByteString value = StoreClient.Bytes($"{i}");
                    TxnRequest both = new();
                    both.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("left"), Value = value } });
                    both.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = store.Key("right"), Value = value } });
                    long revision = (await store.TxnAsync(both)).Header.Revision;
                    if (i % 50 == 49)
                    {
                        await store.CompactAsync(revision - 20);
                    }
                }
            },
            Cancellation);
        for (int round = 0; round < 2; round++)
        {
            byte[] bytes = await SaveAsync(store);
            await File.WriteAllBytesAsync(scratch.File, bytes, Cancellation);
            string data = Path.Combine(scratch.Folder, $"{round}");
            await RestoreAsync(StoreKind.Upstream, scratch.File, data);
            using StoreClient restored = new(await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation, data));
            Assert.Equal((await restored.GetAsync("left")).Kvs[0].Value, (await restored.GetAsync("right")).Kvs[0].Value);
            Assert.Equal(302, (await restored.RangeAsync(Everything(0))).Kvs.Count);
        }

        await enough.CancelAsync();
        await writing;
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task Status_and_hash_of_a_file_are_those_of_the_store(StoreKind kind)
    {
        using Scratch scratch = new();
        using StoreClient store = new(await StoreProcess.StartAsync(kind, Cancellation));
        for (int i = 0; i < 150; i++)
        {
            await store.PutAsync($"k{i % 100}", $"{i}");
        }

        await store.DeleteAsync("k7");
        HashKVResponse hash = await HashAsync(store);
        await File.WriteAllBytesAsync(scratch.File, await SaveAsync(store), Cancellation);
        string[] ours = (await EtcdutlAsync(0, "snapshot", "status", scratch.File)).Split(", ");
        string[] theirs = (await EtcdctlAsync("snapshot", "status", scratch.File)).Split(", ");
        Assert.Equal(theirs[..2], ours[..2]);
        Assert.Equal(("152", "99"), (ours[1], ours[2]));
        Assert.Equal(theirs[3].Trim(), ours[3]);
        Assert.Equal($"{hash.Hash}, {hash.Header.Revision}, -1\n", await EtcdutlAsync(0, "hashkv", scratch.File));
        Assert.StartsWith("{\"hash\":", await EtcdutlAsync(0, "hashkv", scratch.File, "-w", "json", "--rev=100"), StringComparison.Ordinal);
        Assert.Contains("| HASH", await EtcdutlAsync(0, "snapshot", "status", "--write-out=table", scratch.File), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_damaged_or_foreign_file_is_refused_with_the_reason()
    {
        using Scratch scratch = new();
        using StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation));
        await store.PutAsync("a", "1");
        byte[] good = await SaveAsync(store);
        async Task<string> Restore(byte[] bytes, params string[] more)
        {
            await File.WriteAllBytesAsync(scratch.File, bytes, Cancellation);
            return await EtcdutlAsync(1, ["snapshot", "restore", scratch.File, "--data-dir", scratch.Data, .. more]);
        }

        byte[] flipped = [.. good];
        flipped[good.Length / 2] ^= 1;
        Assert.Contains("expected sha256 [", await Restore(flipped), StringComparison.Ordinal);
        Assert.Contains("snapshot missing hash but --skip-hash-check=false", await Restore(good[..^32]), StringComparison.Ordinal);
        Assert.Contains("is no database that can be read", await Restore(new byte[4096], "--skip-hash-check"), StringComparison.Ordinal);
        Assert.Contains("cut off", await Restore(good[..8192], "--skip-hash-check"), StringComparison.Ordinal);
        Assert.Contains("couldn't find local name \"other\"", await Restore(good, "--name", "other"), StringComparison.Ordinal);
        Assert.Contains("--initial-cluster has", await Restore(good, "--initial-advertise-peer-urls", "http://localhost:9"), StringComparison.Ordinal);
        Assert.False(Directory.Exists(scratch.Data));
        Assert.Contains("no such file", await EtcdutlAsync(1, "snapshot", "restore", "/nowhere"), StringComparison.Ordinal);
        Assert.Contains("exactly one argument", await EtcdutlAsync(128, "snapshot", "status"), StringComparison.Ordinal);
        Assert.Contains("--mark-compacted required", await EtcdutlAsync(128, "snapshot", "restore", scratch.File, "--bump-revision=5"), StringComparison.Ordinal);
        await File.WriteAllBytesAsync(scratch.File, good, Cancellation);
        Assert.Equal("added member default=http://localhost:2380\n", await EtcdutlAsync(0, "snapshot", "restore", scratch.File, "--data-dir", scratch.Data));
        Assert.Contains("not empty", await EtcdutlAsync(1, "snapshot", "restore", scratch.File, "--data-dir", scratch.Data), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_revision_may_be_raised_so_that_clients_see_it_go_forward()
    {
        using Scratch scratch = new();
        long before;
        using (StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation)))
        {
            await store.PutAsync("a", "1");
            before = (await store.PutAsync("a", "2")).Header.Revision;
            await File.WriteAllBytesAsync(scratch.File, await SaveAsync(store), Cancellation);
        }

        await EtcdutlAsync(0, "snapshot", "restore", scratch.File, "--data-dir", scratch.Data, "--bump-revision=1000", "--mark-compacted");
        using StoreClient restored = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, scratch.Data));
        Assert.Equal(before + 1000, await restored.RevisionAsync());
        Assert.StartsWith("OutOfRange", await StoreClient.RefusalAsync(() => restored.GetAsync("a", before)), StringComparison.Ordinal);
        KeyValue pair = Assert.Single((await restored.GetAsync("a")).Kvs);
        Assert.Equal(("2", before), (pair.Value.ToStringUtf8(), pair.ModRevision));
    }

    [Fact]
    public async Task A_restored_member_has_its_log_where_it_was_wanted_and_runs_with_its_token_only()
    {
        using Scratch scratch = new();
        HashKVResponse saved;
        using (StoreClient store = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation)))
        {
            await store.PutAsync("a", "1");
            saved = await HashAsync(store);
            await File.WriteAllBytesAsync(scratch.File, await SaveAsync(store), Cancellation);
        }

        string wal = Path.Combine(scratch.Folder, "wal");
        await EtcdutlAsync(0, "snapshot", "restore", scratch.File, "--data-dir", scratch.Data, "--wal-dir", wal, "--initial-cluster-token", "mine");
        Assert.Contains("wal-dir", await EtcdutlAsync(1, "snapshot", "restore", scratch.File, "--data-dir", scratch.Data + "2", "--wal-dir", wal), StringComparison.Ordinal);
        Assert.Contains($"hash {saved.Hash}", await EtcdutlAsync(0, "verify", "--data-dir", scratch.Data, "--wal-dir", wal), StringComparison.Ordinal);
        (int code, string said) = await ProgramRun.CompleteAsync(
            Programs.Kapell, ["etcd", "--data-dir", scratch.Data, "--wal-dir", wal, "--initial-cluster-token", "other"], "", Cancellation);
        Assert.NotEqual(0, code);
        Assert.Contains("founded with --initial-cluster-token=mine, not other", said, StringComparison.Ordinal);
        using (StoreClient restored = new(await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, scratch.Data, "--wal-dir", wal, "--initial-cluster-token", "mine")))
        {
            Assert.Equal("1", (await restored.GetAsync("a")).Kvs[0].Value.ToStringUtf8());
            Assert.Contains("is in use by process", await EtcdutlAsync(1, "verify", "--data-dir", scratch.Data, "--wal-dir", wal), StringComparison.Ordinal);
            await restored.PutAsync("b", "2");
            saved = await HashAsync(restored);
            restored.Process.Kill();
        }

        // What it has written since is in the log.
        said = await EtcdutlAsync(0, "verify", "--data-dir", scratch.Data, "--wal-dir", wal);
        Assert.Contains($"revision {saved.HashRevision}, compacted 0, 2 keys, hash {saved.Hash}", said, StringComparison.Ordinal);
    }

    private static RangeRequest Everything(long revision) =>
        new() { Key = ByteString.CopyFrom(0), RangeEnd = ByteString.CopyFrom(0), Revision = revision };

    private static async Task<HashKVResponse> HashAsync(StoreClient store) =>
        await store.Maintenance.HashKVAsync(new HashKVRequest(), cancellationToken: Cancellation);

    private static async Task<byte[]> SaveAsync(StoreClient store)
    {
        using MemoryStream bytes = new();
        using AsyncServerStreamingCall<SnapshotResponse> call = store.Maintenance.Snapshot(new SnapshotRequest(), cancellationToken: Cancellation);
        while (await call.ResponseStream.MoveNext(Cancellation))
        {
            call.ResponseStream.Current.Blob.WriteTo(bytes);
        }

        return bytes.ToArray();
    }

    private static async Task RestoreAsync(StoreKind kind, string file, string data)
    {
        string[] args =
        [
            "snapshot", "restore", file, "--data-dir", data, "--initial-cluster", "default=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls", "http://127.0.0.1:2380",
        ];
        await (kind == StoreKind.Kapell ? EtcdutlAsync(0, args) : EtcdctlAsync(args));
    }

    private static async Task<string> EtcdctlAsync(params string[] args)
    {
        if (Programs.Etcdctl is null)
        {
            Assert.Skip("etcdctl is not installed: apt-get install etcd-client");
        }

        (int code, string said) = await ProgramRun.CompleteAsync(Programs.Etcdctl, args, "", Cancellation);
        Assert.True(code == 0, said);
        return said;
    }

    private static async Task<string> EtcdutlAsync(int expected, params string[] args)
    {
        (int code, string said) = await ProgramRun.CompleteAsync(Programs.Kapell, ["etcdutl", .. args], "", Cancellation);
        Assert.True(code == expected, $"{code}: {said}");
        return said;
    }

    /// <summary>A folder for one test: where the snapshot goes, and a data directory that is not there yet.</summary>
    private sealed class Scratch : IDisposable
    {
        public string Folder { get; } = StoreProcess.NewDirectory();

        public string File => Path.Combine(Folder, "snapshot.db");

        public string Data => Path.Combine(Folder, "data");

        public void Dispose() => Directory.Delete(Folder, recursive: true);
    }
}

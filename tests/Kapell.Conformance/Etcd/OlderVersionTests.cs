using System.Formats.Tar;
using System.IO.Compression;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>What an older Kapell left on the disk is what this one begins with.</summary>
public sealed class OlderVersionTests
{
    // Zeros that the log has behind its records, left out of the archive.
    private const long SegmentBytes = 32 << 20;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Written by version 0.1.0 of commit 5e22349: puts, a deletion, a compaction, a lease, users, a checkpoint and entries after it.</summary>
    [Fact]
    public async Task A_directory_of_version_0_1_0_is_taken_over()
    {
        string directory = StoreProcess.NewDirectory();
        await using (FileStream archive = File.OpenRead(Path.Combine(AppContext.BaseDirectory, "Data", "member-0.1.0.tar.gz")))
        await using (GZipStream tar = new(archive, CompressionMode.Decompress))
        {
            await TarFile.ExtractToDirectoryAsync(tar, directory, overwriteFiles: false, Cancellation);
        }

        await using (FileStream segment = File.OpenWrite(Directory.GetFiles(Path.Combine(directory, "member", "wal")).Single()))
        {
            segment.SetLength(SegmentBytes);
        }

        try
        {
            for (int life = 1; life <= 2; life++)
            {
                using StoreProcess process = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, directory);
                using StoreClient client = new(process);
                await HoldsAsync(client);
                await client.PutAsync("new", $"of life {life}");
                process.Kill();
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static async Task HoldsAsync(StoreClient client)
    {
        RangeResponse keys = await client.RangeAsync(new RangeRequest { Key = StoreClient.Bytes("key/"), RangeEnd = StoreClient.Bytes("key0") });
        Assert.Equal(11, keys.Kvs.Count);
        Assert.Equal("again", keys.Kvs.Single(static k => k.Key.ToStringUtf8() == "key/4").Value.ToStringUtf8());
        Assert.DoesNotContain(keys.Kvs, static k => k.Key.ToStringUtf8() == "key/3");
        Assert.Equal("checkpoint", (await client.GetAsync("after")).Kvs[0].Value.ToStringUtf8());
        KeyValue leased = (await client.GetAsync("leased")).Kvs[0];
        LeaseTimeToLiveResponse lease = await client.Leases.LeaseTimeToLiveAsync(new LeaseTimeToLiveRequest { ID = leased.Lease, Keys = true }, cancellationToken: Cancellation);
        Assert.Equal((1000L, "leased"), (lease.GrantedTTL, lease.Keys.Single().ToStringUtf8()));
        Assert.Equal(["root", "u"], (await client.Users.UserListAsync(new AuthUserListRequest(), cancellationToken: Cancellation)).Users);
        Assert.Equal("OutOfRange: etcdserver: mvcc: required revision has been compacted", await StoreClient.RefusalAsync(() => client.GetAsync("after", revision: 7)));

        // As that version told it at the same revision.
        HashKVResponse hash = await client.Maintenance.HashKVAsync(new HashKVRequest { Revision = 97 }, cancellationToken: Cancellation);
        Assert.Equal(3397760626u, hash.Hash);
    }
}

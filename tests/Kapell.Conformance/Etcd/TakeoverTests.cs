using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>`kapell etcd` in the place of an installed etcd, on the directory that this wrote.</summary>
public sealed class TakeoverTests
{
    private const int Writers = 8;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_etcd_held_is_held_after_it_under_the_same_numbers()
    {
        string directory = StoreProcess.NewDirectory();
        try
        {
            string before;
            using (StoreProcess etcd = await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation, directory))
            using (StoreClient client = new(etcd))
            {
                await FillAsync(client);
                before = await TellAsync(client);
                etcd.Kill();
            }

            for (int life = 1; life <= 2; life++)
            {
                using StoreProcess kapell = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, directory);
                using StoreClient client = new(kapell);
                Assert.Equal(before, await TellAsync(client));
                kapell.Kill();
            }

            Assert.True(File.Exists(Path.Combine(directory, "member.etcd", "snap", "db")));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task Nothing_is_lost_that_etcd_acknowledged_before_it_was_killed()
    {
        string directory = StoreProcess.NewDirectory();
        try
        {
            List<(string Key, long Revision)> acknowledged = [];
            using (StoreProcess etcd = await StoreProcess.StartAsync(StoreKind.Upstream, Cancellation, directory, "--snapshot-count", "300"))
            using (StoreClient client = new(etcd))
            {
                Task[] writers = [.. Enumerable.Range(0, Writers).Select(w => WriteAsync(client, w, acknowledged))];
                while (Count(acknowledged) < 1500)
                {
                    Assert.All(writers, static w => Assert.False(w.IsCompleted, "a write was refused while etcd ran"));
                    await Task.Delay(10, Cancellation);
                }

                etcd.Kill();
                await Task.WhenAll(writers);
            }

            using StoreProcess kapell = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation, directory);
            using StoreClient after = new(kapell);
            Dictionary<string, long> there = (await after.RangeAsync(new RangeRequest { Key = StoreClient.Bytes("w"), RangeEnd = StoreClient.Bytes("x") }))
                .Kvs.ToDictionary(static k => k.Key.ToStringUtf8(), static k => k.ModRevision);
            Assert.All(acknowledged, a => Assert.Equal(a.Revision, there.GetValueOrDefault(a.Key)));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static int Count(List<(string Key, long Revision)> acknowledged)
    {
        lock (acknowledged)
        {
            return acknowledged.Count;
        }
    }

    private static async Task WriteAsync(StoreClient client, int writer, List<(string Key, long Revision)> acknowledged)
    {
        try
        {
            for (int i = 0; ; i++)
            {
                string key = $"w{writer}/{i}";
                PutResponse put = await client.PutAsync(key, "value");
                lock (acknowledged)
                {
                    acknowledged.Add((key, put.Header.Revision));
                }
            }
        }
        catch (Grpc.Core.RpcException)
        {
            // It was killed, as the test wants.
        }
    }

    private static async Task FillAsync(StoreClient client)
    {
        for (int i = 0; i < 20; i++)
        {
            await client.PutAsync($"key/{i % 7}", $"value {i}");
        }

        await client.DeleteAsync("key/3");
        await client.TxnAsync(new TxnRequest
        {
            Success = { new RequestOp { RequestPut = new PutRequest { Key = StoreClient.Bytes("t1"), Value = StoreClient.Bytes("x") } }, new RequestOp { RequestPut = new PutRequest { Key = StoreClient.Bytes("t2") } } },
        });
        await client.CompactAsync(12);
        await client.GrantAsync(77, 5000);
        await client.PutAsync("leased", "yes", lease: 77);
        Auth.AuthClient users = client.Users;
        await users.RoleAddAsync(new AuthRoleAddRequest { Name = "r" }, cancellationToken: Cancellation);
        await users.RoleGrantPermissionAsync(new AuthRoleGrantPermissionRequest { Name = "r", Perm = new Permission { Key = StoreClient.Bytes("a"), RangeEnd = StoreClient.Bytes("b") } }, cancellationToken: Cancellation);
        await users.UserAddAsync(new AuthUserAddRequest { Name = "u", Password = "secret" }, cancellationToken: Cancellation);
        await users.UserGrantRoleAsync(new AuthUserGrantRoleRequest { User = "u", Role = "r" }, cancellationToken: Cancellation);
        await client.Cluster.MemberAddAsync(new MemberAddRequest { PeerURLs = { "http://127.0.0.1:1" }, IsLearner = true }, cancellationToken: Cancellation);
    }

    /// <summary>All that a client can see, but for terms and how long a lease still lives.</summary>
    private static async Task<string> TellAsync(StoreClient client)
    {
        List<string> said = [];
        RangeResponse all = await client.RangeAsync(new RangeRequest { Key = StoreClient.Bytes("\0"), RangeEnd = StoreClient.Bytes("\0"), Serializable = true });
        said.Add($"cluster {all.Header.ClusterId:x} member {all.Header.MemberId:x} revision {all.Header.Revision}");
        said.AddRange(all.Kvs.Select(static k => k.ToString()));
        RangeResponse earlier = await client.RangeAsync(new RangeRequest { Key = StoreClient.Bytes("\0"), RangeEnd = StoreClient.Bytes("\0"), Revision = 14, Serializable = true });
        said.AddRange(earlier.Kvs.Select(static k => k.ToString()));
        said.Add(await StoreClient.RefusalAsync(() => client.GetAsync("key/1", revision: 11)));
        HashKVResponse hash = await client.Maintenance.HashKVAsync(new HashKVRequest(), cancellationToken: Cancellation);
        said.Add($"hash {hash.Hash} compacted {hash.CompactRevision}");
        MemberListResponse members = await client.Cluster.MemberListAsync(new MemberListRequest(), cancellationToken: Cancellation);
        said.AddRange(members.Members.OrderBy(static m => m.ID).Select(static m => $"{m.ID:x} {m.Name} {m.PeerURLs} {m.IsLearner}"));
        LeaseTimeToLiveResponse lease = await client.Leases.LeaseTimeToLiveAsync(new LeaseTimeToLiveRequest { ID = 77, Keys = true }, cancellationToken: Cancellation);
        said.Add($"lease {lease.GrantedTTL} {lease.Keys}");
        said.Add((await client.Users.UserGetAsync(new AuthUserGetRequest { Name = "u" }, cancellationToken: Cancellation)).Roles.ToString());
        said.Add((await client.Users.RoleGetAsync(new AuthRoleGetRequest { Role = "r" }, cancellationToken: Cancellation)).Perm.ToString());
        return string.Join('\n', said);
    }
}

using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary><c>grpc-proxy --experimental-leasing-prefix</c>: keys that are read in the proxy, and asked back by who writes them.</summary>
public sealed class ProxyLeasingTests
{
    private const string Prefix = "leases/";
    private static readonly string[] Flag = ["--experimental-leasing-prefix", Prefix];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Who may hold the key beside Kapell's proxy: one of its kind, one of etcd's; and whose store it is.</summary>
    public static TheoryData<StoreKind, StoreKind> Others => new()
    {
        { StoreKind.Kapell, StoreKind.Kapell },
        { StoreKind.Kapell, StoreKind.Upstream },
        { StoreKind.Upstream, StoreKind.Kapell },
        { StoreKind.Upstream, StoreKind.Upstream },
    };

    [Fact]
    public async Task A_key_that_was_read_is_read_again_without_a_member()
    {
        using Proxied one = await Proxied.StartAsync(StoreKind.Kapell);
        await one.Client.PutAsync("a", "1");
        Assert.Equal("1", await ReadAsync(one.Client, "a"));
        Assert.Empty((await one.Client.GetAsync("none")).Kvs);
        Assert.Equal(3, (await one.Direct.RangeAsync(new RangeRequest { Key = StoreClient.Bytes(Prefix), RangeEnd = StoreClient.Bytes("leases0") })).Count);

        // A transaction that only reads them is as a member says, wherever it is answered.
        foreach (TxnRequest request in RandomReads(one.Client, new Random(1)))
        {
            TxnResponse expected = await one.Direct.TxnAsync(request);
            TxnResponse actual = await one.Client.TxnAsync(request);
            Assert.All(actual.Responses, r => Assert.Equal(new ResponseHeader { Revision = actual.Header.Revision }, r.ResponseRange.Header));
            foreach (ResponseHeader header in actual.Responses.Select(static r => r.ResponseRange.Header).Append(actual.Header))
            {
                // The newest of the keys', which others have passed since.
                header.Revision = expected.Header.Revision;
            }

            Assert.Equal($"{request}: {expected}", $"{request}: {actual}");
        }

        // Its own writes are seen, and still without a member.
        await one.Client.PutAsync("a", "2");
        await one.Client.PutAsync("none", "3");
        await one.Client.DeleteAsync("a");
        one.Member.Kill();
        Assert.Empty((await one.Client.GetAsync("a")).Kvs);
        Assert.Single((await one.Client.TxnAsync(new TxnRequest { Success = { new RequestOp { RequestRange = new RangeRequest { Key = one.Client.Key("none") } } } })).Responses);
        RangeResponse read = await one.Client.GetAsync("none");
        Assert.Equal(("3", 1L, 1L), (read.Kvs[0].Value.ToStringUtf8(), read.Kvs[0].Version, read.Count));
        Assert.Equal(read.Kvs[0].ModRevision, read.Kvs[0].CreateRevision);
        Assert.Equal(read.Kvs[0].ModRevision + 1, (await one.Client.GetAsync("a")).Header.Revision);
        RangeResponse bare = await one.Client.RangeAsync(new RangeRequest { Key = one.Client.Key("none"), KeysOnly = true });
        Assert.Equal((0, 1L), (bare.Kvs[0].Value.Length, bare.Count));
        Assert.Empty((await one.Client.RangeAsync(new RangeRequest { Key = one.Client.Key("none"), CountOnly = true })).Kvs);
        Assert.Empty((await one.Client.RangeAsync(new RangeRequest { Key = one.Client.Key("none"), MinModRevision = 1_000_000 })).Kvs);

        // What was not read cannot be, nor can anything be written.
        Assert.StartsWith("Unavailable: ", await StoreClient.RefusalAsync(() => one.Client.GetAsync("b")), StringComparison.Ordinal);
        Assert.StartsWith("Unavailable: ", await StoreClient.RefusalAsync(() => one.Client.PutAsync("none", "4")), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Others))]
    public async Task Who_writes_through_another_proxy_asks_the_key_back(StoreKind store, StoreKind kind)
    {
        using Proxied one = await Proxied.StartAsync(store);
        using ProxyProcess second = await ProxyProcess.StartAsync(kind, one.Member.Url, Cancellation, Flag);
        using StoreClient other = new(one.Member, second.Url) { Prefix = one.Client.Prefix };
        StoreClient[] both = [one.Client, other];
        int value = 0;
        for (int round = 0; round < 6; round++)
        {
            StoreClient writer = both[round % 2];
            StoreClient owner = both[(round + (round / 2)) % 2];
            string key = string.Create(CultureInfo.InvariantCulture, $"k{round % 3}");
            await ReadAsync(owner, key);
            await WriteAsync(writer, key, ++value, round);
            foreach (StoreClient reader in both)
            {
                Assert.Equal($"{round} {value}", $"{round} {await ReadAsync(reader, key)}");
            }
        }

        // Deleted, one by one and together.
        await Task.Delay(TimeSpan.FromSeconds(2.1), Cancellation);
        foreach (StoreClient client in both)
        {
            await ReadAsync(both[0], "k0");
            await ReadAsync(both[1], "k1");
            await client.DeleteAsync(new DeleteRangeRequest { Key = StoreClient.Bytes(client.Prefix), RangeEnd = client.PrefixEnd });
            foreach (StoreClient reader in both)
            {
                Assert.Equal((null, null), (await ReadAsync(reader, "k0"), await ReadAsync(reader, "k1")));
            }

            await client.PutAsync("k0", "again");
            await client.PutAsync("k1", "again");
        }
    }

    /// <summary>Two proxies, writers that count up through either, readers of both: nobody sees less than was confirmed before it asked.</summary>
    [Theory]
    [InlineData(StoreKind.Kapell)]
    [InlineData(StoreKind.Upstream)]
    public async Task Nobody_reads_what_is_no_longer_so(StoreKind store)
    {
        using Proxied one = await Proxied.StartAsync(store);
        using ProxyProcess second = await ProxyProcess.StartAsync(one.Member.Url, Cancellation, Flag);
        using StoreClient other = new(one.Member, second.Url) { Prefix = one.Client.Prefix };
        StoreClient[] both = [one.Client, other];
        using CancellationTokenSource done = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        int confirmed = 0;
        long[] reads = new long[4];
        Task[] readers = [.. Enumerable.Range(0, reads.Length).Select(async i =>
        {
            while (!done.IsCancellationRequested)
            {
                int least = Volatile.Read(ref confirmed);
                Assert.InRange(int.Parse(await ReadAsync(both[i % 2], "n") ?? "0", CultureInfo.InvariantCulture), least, int.MaxValue);
                reads[i]++;
            }
        })];
        for (int value = 1; value <= 60; value++)
        {
            // Now and then so long that the key is held again.
            await WriteAsync(both[value % 5 / 3], "n", value, value % 3);
            Volatile.Write(ref confirmed, value);
            await Task.Delay(value % 20 == 0 ? 2_200 : 5, Cancellation);
        }

        await done.CancelAsync();
        await Task.WhenAll(readers);
        Assert.All(reads, static count => Assert.InRange(count, 100, long.MaxValue));
    }

    [Fact]
    public async Task A_key_that_goes_with_its_lease_is_not_held()
    {
        using Proxied one = await Proxied.StartAsync(StoreKind.Kapell);
        await one.Client.GrantAsync(7, 600);
        await ReadAsync(one.Client, "held before");
        await one.Client.PutAsync("held before", "v", lease: 7);
        await one.Client.PutAsync("never", "v", lease: 7);
        Assert.Equal("v", await ReadAsync(one.Client, "held before"));
        Assert.Equal("v", await ReadAsync(one.Client, "never"));
        await one.Client.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = 7 }, cancellationToken: Cancellation);
        Assert.Null(await ReadAsync(one.Client, "held before"));
        Assert.Null(await ReadAsync(one.Client, "never"));
    }

    [Fact]
    public async Task What_is_wrong_is_said_as_without_leases()
    {
        using Proxied one = await Proxied.StartAsync(StoreKind.Kapell);
        await ReadAsync(one.Client, "a");
        foreach (StoreClient client in new[] { one.Direct, one.Client })
        {
            Assert.Equal("InvalidArgument: etcdserver: key is not provided", await StoreClient.RefusalAsync(() => client.PutAsync(new PutRequest())));
            Assert.Equal("NotFound: etcdserver: requested lease not found", await StoreClient.RefusalAsync(() => client.PutAsync("a", "v", lease: 99)));
            TxnRequest twice = new();
            twice.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = client.Key("a") } });
            twice.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = client.Key("a") } });
            Assert.Equal("InvalidArgument: etcdserver: duplicate key given in txn request", await StoreClient.RefusalAsync(() => client.TxnAsync(twice)));
        }

        Assert.Null(await ReadAsync(one.Client, "a"));
        await one.Client.PutAsync("a", "still");
        Assert.Equal("still", await ReadAsync(one.Client, "a"));
    }

    /// <summary>Somebody who knows nothing of leases deletes or writes a leasing key, and the key too.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_leasing_key_that_was_meddled_with_holds_nothing(bool delete)
    {
        using Proxied one = await Proxied.StartAsync(StoreKind.Kapell);
        await one.Client.PutAsync("a", "1");
        Assert.Equal("1", await ReadAsync(one.Client, "a"));
        ByteString leasing = StoreClient.Bytes(Prefix + "t/a");
        if (delete)
        {
            await one.Direct.DeleteAsync(new DeleteRangeRequest { Key = leasing });
        }
        else
        {
            await one.Direct.PutAsync(new PutRequest { Key = leasing, Value = StoreClient.Bytes("what is this") });
        }

        await one.Direct.PutAsync("a", "2");
        using CancellationTokenSource late = new(TimeSpan.FromSeconds(20));
        while (await ReadAsync(one.Client, "a") == "1")
        {
            await Task.Delay(5, late.Token);
        }

        Assert.Equal("2", await ReadAsync(one.Client, "a"));
        await one.Client.PutAsync("a", "3");
        Assert.Equal(("3", "3"), (await ReadAsync(one.Client, "a"), await ReadAsync(one.Direct, "a")));
    }

    /// <summary>One proxy in a namespace, one that names it: keys and leasing keys are the same.</summary>
    [Fact]
    public async Task A_namespace_has_its_own_leases()
    {
        StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreClient direct = new(member) { Prefix = "n/" };
        using ProxyProcess inside = await ProxyProcess.StartAsync(member.Url, Cancellation, ["--namespace", "n/", .. Flag]);
        using StoreClient client = new(member, inside.Url);
        await LeasesAsync(client, direct, "n/" + Prefix);
        await ReadAsync(client, "held");
        Assert.Single((await direct.GetAsync(Prefix + "held")).Kvs);
        await client.PutAsync("held", "v");
        Assert.Equal(("v", "v"), (await ReadAsync(client, "held"), await ReadAsync(direct, "held")));
    }

    [Fact]
    public async Task Who_may_not_read_a_key_does_not_read_it_here()
    {
        using Proxied one = await Proxied.StartAsync(StoreKind.Kapell);
        await one.Client.PutAsync("secret", "v");
        Assert.Equal("v", await ReadAsync(one.Client, "secret"));
        foreach (string name in new[] { "root", "nobody" })
        {
            await one.Direct.Users.UserAddAsync(new AuthUserAddRequest { Name = name, Password = name }, cancellationToken: Cancellation);
        }

        await one.Direct.Users.UserGrantRoleAsync(new AuthUserGrantRoleRequest { User = "root", Role = "root" }, cancellationToken: Cancellation);
        await one.Direct.Users.AuthEnableAsync(new AuthEnableRequest(), cancellationToken: Cancellation);
        async Task<string> ReadAsAsync(string name)
        {
            AuthenticateResponse token = await one.Client.Users.AuthenticateAsync(
                new AuthenticateRequest { Name = name, Password = name }, cancellationToken: Cancellation);
            RangeResponse read = await one.Client.Kv.RangeAsync(
                new RangeRequest { Key = one.Client.Key("secret") }, new Metadata { { "token", token.Token } }, cancellationToken: Cancellation);
            return read.Kvs[0].Value.ToStringUtf8();
        }

        Assert.Equal("v", await ReadAsAsync("root"));
        Assert.Equal("PermissionDenied: etcdserver: permission denied", await StoreClient.RefusalAsync(() => ReadAsAsync("nobody")));

        // Without a user: as soon as the proxy has heard that there are users now.
        using CancellationTokenSource late = new(TimeSpan.FromSeconds(25));
        string refusal = "";
        while (refusal.Length == 0)
        {
            try
            {
                await ReadAsync(one.Client, "secret");
                await Task.Delay(200, late.Token);
            }
            catch (RpcException e)
            {
                refusal = e.Status.Detail;
            }
        }

        Assert.Equal("etcdserver: user name is empty", refusal);
    }

    /// <summary>Until the proxy has its lease and a key with it.</summary>
    private static async Task LeasesAsync(StoreClient client, StoreClient direct, string before)
    {
        RangeRequest leasing = new() { Key = StoreClient.Bytes(before + "first") };
        do
        {
            await Task.Delay(20, Cancellation);
            await client.GetAsync("first");
        }
        while ((await direct.RangeAsync(leasing)).Count == 0);
    }

    /// <summary>Comparisons of all kinds of a key that is there and of one that is not, and reads of both.</summary>
    private static IEnumerable<TxnRequest> RandomReads(StoreClient client, Random random)
    {
        ByteString Key() => client.Key(random.Next(2) == 0 ? "a" : "none");
        Compare Comparison()
        {
            Compare compare = new() { Key = Key(), Result = (Compare.Types.CompareResult)random.Next(4), Target = (Compare.Types.CompareTarget)random.Next(5) };
            int number = random.Next(4);
            return (random.Next(8), compare.Target) switch
            {
                (0, _) => compare,
                (_, Compare.Types.CompareTarget.Version) => new Compare(compare) { Version = number },
                (_, Compare.Types.CompareTarget.Create) => new Compare(compare) { CreateRevision = number },
                (_, Compare.Types.CompareTarget.Mod) => new Compare(compare) { ModRevision = number },
                (_, Compare.Types.CompareTarget.Lease) => new Compare(compare) { Lease = number },
                _ => new Compare(compare) { Value = StoreClient.Bytes($"{number}") },
            };
        }

        RequestOp Read() => new()
        {
            RequestRange = new RangeRequest
            {
                Key = Key(), KeysOnly = random.Next(4) == 0, CountOnly = random.Next(4) == 0, Limit = random.Next(3), MaxModRevision = random.Next(4), MinCreateRevision = random.Next(4),
            },
        };
        for (int i = 0; i < 200; i++)
        {
            TxnRequest request = new();
            request.Compare.AddRange(Enumerable.Range(0, random.Next(3)).Select(_ => Comparison()));
            request.Success.AddRange(Enumerable.Range(0, random.Next(3)).Select(_ => Read()));
            request.Failure.AddRange(Enumerable.Range(0, random.Next(3)).Select(_ => Read()));
            yield return request;
        }
    }

    private static async Task<string?> ReadAsync(StoreClient client, string key) => (await client.GetAsync(key)).Kvs is [var pair] ? pair.Value.ToStringUtf8() : null;

    /// <summary>In one of the ways there are.</summary>
    private static async Task WriteAsync(StoreClient client, string key, int value, int way)
    {
        ByteString bytes = StoreClient.Bytes(value.ToString(CultureInfo.InvariantCulture));
        PutRequest put = new() { Key = client.Key(key), Value = bytes };
        if (way == 0)
        {
            await client.PutAsync(put);
            return;
        }

        TxnRequest txn = new();
        TxnRequest inner = new();
        inner.Success.Add(new RequestOp { RequestPut = put });
        txn.Compare.Add(new Compare { Key = client.Key("never there"), Target = Compare.Types.CompareTarget.Version, Result = Compare.Types.CompareResult.Equal });
        txn.Success.Add(way == 1 ? inner.Success[0] : new RequestOp { RequestTxn = inner });
        txn.Failure.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = client.Key("other") } });
        TxnResponse done = await client.TxnAsync(txn);
        Assert.True(done.Succeeded);
        Assert.Equal(way == 1 ? ResponseOp.ResponseOneofCase.ResponsePut : ResponseOp.ResponseOneofCase.ResponseTxn, Assert.Single(done.Responses).ResponseCase);
    }

    /// <summary>A member, a proxy with leases before it, and clients of both.</summary>
    private sealed class Proxied : IDisposable
    {
        private readonly ProxyProcess _proxy;

        private Proxied(StoreProcess member, ProxyProcess proxy)
        {
            (Member, _proxy) = (member, proxy);
            Direct = new StoreClient(member) { Prefix = "t/" };
            Client = new StoreClient(member, proxy.Url) { Prefix = "t/" };
        }

        public StoreProcess Member { get; }

        public StoreClient Direct { get; }

        public StoreClient Client { get; }

        /// <summary>Started, and the proxy has its lease.</summary>
        public static async Task<Proxied> StartAsync(StoreKind kind)
        {
            StoreProcess member = await StoreProcess.StartAsync(kind, Cancellation);
            Proxied started = new(member, await ProxyProcess.StartAsync(member.Url, Cancellation, Flag));
            await LeasesAsync(started.Client, started.Direct, Prefix + started.Client.Prefix);
            return started;
        }

        public void Dispose()
        {
            _proxy.Dispose();
            Client.Dispose();
            Direct.Dispose();
        }
    }
}

using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>What <c>grpc-proxy</c> does beyond passing on: the tests that run against <see cref="StoreKind.Proxied"/> show that.</summary>
public sealed class ProxyTests
{
    private const int Clients = 40;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Clients that begin at different times and revisions, while keys change: one watch at the member in the end.</summary>
    [Fact]
    public async Task Many_watches_of_a_range_are_one_at_the_member()
    {
        StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreClient direct = new(member) { Prefix = "p/" };
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        List<(Watcher Watcher, int Expected)> watchers = [];
        for (int i = 0; i < Clients; i++)
        {
            // Every other one from the very beginning.
            bool whole = i % 2 == 0;
            await direct.PutAsync("k", $"{i}");
            Watcher watcher = new(channel);
            await watcher.CreateAsync(new WatchCreateRequest { Key = direct.Key("k"), StartRevision = whole ? 2 : 0 });
            watchers.Add((watcher, whole ? Clients + 1 : Clients - i));
        }

        await direct.PutAsync("k", "last");
        foreach ((Watcher watcher, int expected) in watchers)
        {
            List<string> seen = await watcher.ValuesAsync(expected);
            Assert.Equal([.. Enumerable.Range(Clients + 1 - expected, expected - 1).Select(static v => $"{v}"), "last"], seen);
        }

        Assert.Equal("1", Value(await member.Http.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancellation), "etcd_debugging_mvcc_watcher_total"));
        Assert.Equal("1", Value(await proxy.GetAsync("/metrics", Cancellation), "etcd_debugging_mvcc_watcher_total"));
        Assert.Equal($"{Clients - 1}", Value(await proxy.GetAsync("/proxy/metrics", Cancellation), "etcd_grpc_proxy_watchers_coalescing_total"));
        foreach ((Watcher watcher, _) in watchers)
        {
            watcher.Dispose();
        }

        await UntilAsync(async () => Value(await member.Http.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancellation), "etcd_debugging_mvcc_watcher_total") == "0");
    }

    /// <summary>A watch of somebody who may is nothing for somebody who may not.</summary>
    [Fact]
    public async Task Watches_are_shared_only_by_the_same_caller()
    {
        StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreClient direct = new(member) { Prefix = "p/" };
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        Auth.AuthClient users = new(channel);
        foreach (string name in new[] { "root", "nobody" })
        {
            await users.UserAddAsync(new AuthUserAddRequest { Name = name, Password = name }, cancellationToken: Cancellation);
        }

        await users.UserGrantRoleAsync(new AuthUserGrantRoleRequest { User = "root", Role = "root" }, cancellationToken: Cancellation);
        await users.AuthEnableAsync(new AuthEnableRequest(), cancellationToken: Cancellation);
        async Task<Metadata> TokenAsync(string name) =>
            new() { { "token", (await users.AuthenticateAsync(new AuthenticateRequest { Name = name, Password = name }, cancellationToken: Cancellation)).Token } };

        Metadata root = await TokenAsync("root");
        using Watcher allowed = new(channel, root);
        using Watcher refused = new(channel, await TokenAsync("nobody"));
        Assert.False((await allowed.CreateAsync(new WatchCreateRequest { Key = direct.Key("k") })).Canceled);
        WatchResponse answer = await refused.CreateAsync(new WatchCreateRequest { Key = direct.Key("k") });
        Assert.True(answer.Canceled);
        Assert.Contains("permission denied", answer.CancelReason, StringComparison.Ordinal);
        await direct.Kv.PutAsync(new PutRequest { Key = direct.Key("k"), Value = StoreClient.Bytes("v") }, root, cancellationToken: Cancellation);
        Assert.Equal(["v"], await allowed.ValuesAsync(1));
    }

    [Fact]
    public async Task The_end_of_the_member_is_told_as_such()
    {
        using StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        using Watcher watcher = new(channel);
        await watcher.CreateAsync(new WatchCreateRequest { Key = StoreClient.Bytes("k") });
        member.Terminate();
        RpcException end = await Assert.ThrowsAsync<RpcException>(watcher.NextAsync);
        Assert.Equal("Unavailable: etcdserver: server stopped", $"{end.StatusCode}: {end.Status.Detail}");
    }

    /// <summary>What never reached a member is not lost: a write may go to the next one too.</summary>
    [Fact]
    public async Task A_member_that_is_down_is_passed_over_and_named_when_there_is_no_other()
    {
        using StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        string dead = $"http://127.0.0.1:{FreePorts.Next()}";
        using ProxyProcess proxy = await ProxyProcess.StartAsync($"{dead},{member.Url}", Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        KV.KVClient keys = new(channel);
        PutRequest put = new() { Key = StoreClient.Bytes("a"), Value = StoreClient.Bytes("b") };
        for (int i = 0; i < 4; i++)
        {
            await keys.PutAsync(put, cancellationToken: Cancellation);

            // For longer than the dead one is avoided.
            await Task.Delay(TimeSpan.FromSeconds(1.1), Cancellation);
        }

        member.Kill();
        RpcException end = await Assert.ThrowsAsync<RpcException>(() => keys.PutAsync(put, cancellationToken: Cancellation).ResponseAsync);
        Assert.Equal(StatusCode.Unavailable, end.StatusCode);
        Assert.Matches("^etcd grpc-proxy: cannot connect to http://127.0.0.1:[0-9]+: Connection refused", end.Status.Detail);
    }

    /// <summary>etcd's client takes a stream that ends before it has sent anything for an end without a reason, and does not try again.</summary>
    [Fact]
    public async Task A_stream_learns_that_the_member_is_down_when_it_has_asked()
    {
        StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> early = new Lease.LeaseClient(channel).LeaseKeepAlive(cancellationToken: Cancellation);
        await early.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = 1 }, Cancellation);
        Assert.True(await early.ResponseStream.MoveNext(Cancellation));
        member.Kill();
        RpcException broken = await Assert.ThrowsAsync<RpcException>(() => early.ResponseStream.MoveNext(Cancellation));
        Assert.Equal(StatusCode.Unavailable, broken.StatusCode);
        Assert.StartsWith($"etcd grpc-proxy: the connection to {member.Url} broke: ", broken.Status.Detail, StringComparison.Ordinal);

        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> late = new Lease.LeaseClient(channel).LeaseKeepAlive(cancellationToken: Cancellation);
        Task<bool> answered = late.ResponseStream.MoveNext(Cancellation);
        await Task.Delay(TimeSpan.FromSeconds(0.5), Cancellation);
        Assert.False(answered.IsCompleted);
        await late.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = 1 }, Cancellation);
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => answered);
        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        Assert.StartsWith($"etcd grpc-proxy: cannot connect to {member.Url}: ", refused.Status.Detail, StringComparison.Ordinal);
        member.Dispose();
    }

    [Fact]
    public async Task A_namespace_is_one_for_watches_too()
    {
        StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using StoreClient direct = new(member) { Prefix = "n/" };
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation, "--namespace", "n/");
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        using Watcher first = new(channel);
        using Watcher second = new(channel);
        foreach (Watcher watcher in new[] { first, second })
        {
            await watcher.CreateAsync(new WatchCreateRequest { Key = StoreClient.Bytes("a"), RangeEnd = StoreClient.Bytes("b") });
        }

        await direct.Kv.PutAsync(new PutRequest { Key = StoreClient.Bytes("a1"), Value = StoreClient.Bytes("outside") }, cancellationToken: Cancellation);
        await direct.PutAsync("a1", "inside");
        foreach (Watcher watcher in new[] { first, second })
        {
            WatchResponse heard = await watcher.NextAsync();
            Assert.Equal("a1=inside", $"{heard.Events[0].Kv.Key.ToStringUtf8()}={heard.Events[0].Kv.Value.ToStringUtf8()}");
        }
    }

    /// <summary>Clients that keep leases alive cost the member one stream, and one that says nothing more is let go by itself.</summary>
    [Fact]
    public async Task Keep_alives_of_many_clients_are_one_stream_at_the_member()
    {
        using StoreProcess member = await StoreProcess.StartAsync(StoreKind.Kapell, Cancellation);
        using ProxyProcess proxy = await ProxyProcess.StartAsync(member.Url, Cancellation);
        using GrpcChannel channel = GrpcChannel.ForAddress(proxy.Url);
        Lease.LeaseClient leases = new(channel);
        List<(AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> Call, long Lease)> calls = [];
        for (int i = 0; i < Clients; i++)
        {
            LeaseGrantResponse granted = await leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = 60 + i }, cancellationToken: Cancellation);
            calls.Add((leases.LeaseKeepAlive(cancellationToken: Cancellation), granted.ID));
        }

        for (int round = 0; round < 3; round++)
        {
            await Task.WhenAll(calls.Select(static c => c.Call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = c.Lease }, Cancellation)));
            for (int i = 0; i < Clients; i++)
            {
                Assert.True(await calls[i].Call.ResponseStream.MoveNext(Cancellation));
                Assert.Equal((calls[i].Lease, 60 + i), (calls[i].Call.ResponseStream.Current.ID, calls[i].Call.ResponseStream.Current.TTL));
            }
        }

        string metrics = await member.Http.GetStringAsync(new Uri("/metrics", UriKind.Relative), Cancellation);
        Assert.Contains("\ngrpc_server_started_total{grpc_method=\"LeaseKeepAlive\",grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"} 1\n", metrics, StringComparison.Ordinal);

        // Of a lease that is gone the answer is no error, and nobody else's matter.
        await leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = calls[0].Lease }, cancellationToken: Cancellation);
        await calls[0].Call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = calls[0].Lease }, Cancellation);
        Assert.True(await calls[0].Call.ResponseStream.MoveNext(Cancellation));
        Assert.Equal(0, calls[0].Call.ResponseStream.Current.TTL);
        foreach ((AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> call, _) in calls)
        {
            await call.RequestStream.CompleteAsync();
            Assert.False(await call.ResponseStream.MoveNext(Cancellation));
            Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
            call.Dispose();
        }
    }

    private static string Value(string metrics, string name) =>
        metrics.Split('\n').First(l => l.StartsWith(name + " ", StringComparison.Ordinal))[(name.Length + 1)..];

    private static async Task UntilAsync(Func<Task<bool>> holds)
    {
        using CancellationTokenSource late = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        late.CancelAfter(TimeSpan.FromSeconds(20));
        while (!await holds())
        {
            await Task.Delay(20, late.Token);
        }
    }

    private sealed class Watcher(GrpcChannel channel, Metadata? headers = null) : IDisposable
    {
        private readonly AsyncDuplexStreamingCall<WatchRequest, WatchResponse> _call =
            new Watch.WatchClient(channel).Watch(headers, deadline: DateTime.UtcNow.AddSeconds(60), cancellationToken: Cancellation);

        public async Task<WatchResponse> CreateAsync(WatchCreateRequest request)
        {
            await _call.RequestStream.WriteAsync(new WatchRequest { CreateRequest = request }, Cancellation);
            WatchResponse answer = await NextAsync();
            Assert.True(answer.Created);
            return answer;
        }

        public async Task<WatchResponse> NextAsync()
        {
            Assert.True(await _call.ResponseStream.MoveNext(Cancellation), "the stream ended");
            return _call.ResponseStream.Current;
        }

        public async Task<List<string>> ValuesAsync(int count)
        {
            List<string> values = [];
            while (values.Count < count)
            {
                values.AddRange((await NextAsync()).Events.Select(static e => e.Kv.Value.ToStringUtf8()));
            }

            return values;
        }

        public void Dispose() => _call.Dispose();
    }
}

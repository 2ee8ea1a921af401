using System.Net;
using System.Text.Json;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Xunit;

namespace Kapell.Conformance.Etcd;

/// <summary>Members whose content is not the same.</summary>
public sealed class ComparisonTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_value_that_is_another_on_one_member_is_found_and_named()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--corrupt-check-time", "1s");
        long revision = await FillAsync(cluster);
        int leader = await cluster.LeaderAsync();
        int damaged = (leader + 1) % 3;
        ulong id = (await cluster.StatusAsync(damaged)).Header.MemberId;
        cluster.Kill(damaged);
        DamagedLog.Replace(cluster.DataOf(damaged), "the value of 150", "The value of 150");
        cluster.Start(damaged);
        string place = $"member {id:x} differs from the majority, first at key \"k/150\", revision {revision}";
        await cluster.UntilAsync("the leader says so in its status", async () =>
            (await cluster.StatusAsync(await cluster.LeaderAsync())).Errors.Contains(place));
        leader = await cluster.LeaderAsync();
        Assert.Contains(place, cluster.Said(leader).Replace("\\\"", "\"", StringComparison.Ordinal), StringComparison.Ordinal);
        await cluster.UntilAsync("every member has the alarm", async () =>
        {
            for (int i = 0; i < 3; i++)
            {
                if (!(await cluster.StatusAsync(i)).Errors.Contains($"memberID:{id} alarm:CORRUPT "))
                {
                    return false;
                }
            }

            return true;
        });
        string metrics = await GetAsync(new Uri(cluster.Url(leader) + "/metrics"));
        Assert.Contains($"kapell_etcd_difference{{members=\"{id:x}\",revision=\"{revision}\",key=\"k/150\"}} 1", metrics, StringComparison.Ordinal);
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => cluster.PutAsync(leader, "a", "1"));
        Assert.Equal((StatusCode.DataLoss, "etcdserver: corrupt cluster"), (refused.StatusCode, refused.Status.Detail));
    }

    [Fact]
    public async Task A_member_that_differs_does_not_start_with_the_initial_check()
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(StoreKind.Kapell, 3, "--compare-members=false");
        long revision = await FillAsync(cluster);
        int damaged = (await cluster.LeaderAsync() + 1) % 3;
        cluster.Kill(damaged);
        DamagedLog.Replace(cluster.DataOf(damaged), "the value of 150", "The value of 150");
        cluster.Start(damaged, "new", "--feature-gates", "InitialCorruptCheck=true");
        Assert.NotEqual(0, await cluster.ExitAsync(damaged));
        Assert.Contains("found data inconsistency with peers", cluster.Said(damaged), StringComparison.Ordinal);
        Assert.Contains($"first at key \"k/150\", revision {revision}", cluster.Said(damaged).Replace("\\\"", "\"", StringComparison.Ordinal), StringComparison.Ordinal);
        cluster.Kill(damaged);
        DamagedLog.Replace(cluster.DataOf(damaged), "The value of 150", "the value of 150");
        cluster.Start(damaged, "new", "--experimental-initial-corrupt-check");
        await cluster.ConvergesAsync();
        Assert.Contains("initial corruption checking passed", cluster.Said(damaged), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(StorePair.Both), MemberType = typeof(StorePair))]
    public async Task The_peer_port_tells_the_hash_at_a_revision(StoreKind kind)
    {
        using StoreCluster cluster = await StoreCluster.StartAsync(kind, 1);
        await cluster.PutAsync(0, "a", "1");
        HashKVResponse expected = await cluster.Maintenance(0).HashKVAsync(new HashKVRequest { Revision = 2 }, cancellationToken: Cancellation);
        await cluster.PutAsync(0, "a", "2");
        (HttpStatusCode status, string body) = await HashAsync(cluster, "{\"revision\":2}");
        Assert.Equal(HttpStatusCode.OK, status);
        using JsonDocument answer = JsonDocument.Parse(body);
        Assert.Equal(expected.Hash, answer.RootElement.GetProperty("hash").GetUInt32());
        Assert.Equal(-1, answer.RootElement.GetProperty("compact_revision").GetInt64());
        Assert.Equal(3, answer.RootElement.GetProperty("header").GetProperty("revision").GetInt64());
        (status, body) = await HashAsync(cluster, "{\"revision\":9}");
        Assert.Equal((HttpStatusCode.BadRequest, "mvcc: required revision is a future revision\n"), (status, body));
        (status, body) = await HashAsync(cluster, "nonsense");
        Assert.Equal((HttpStatusCode.BadRequest, "error unmarshalling request\n"), (status, body));
    }

    private static async Task<long> FillAsync(StoreCluster cluster)
    {
        long revision = 0;
        for (int i = 0; i < 300; i++)
        {
            long made = await cluster.PutAsync(i % 3, $"k/{i:d3}", $"the value of {i}");
            revision = i == 150 ? made : revision;
        }

        await cluster.ConvergesAsync();
        return revision;
    }

    private static async Task<(HttpStatusCode Status, string Body)> HashAsync(StoreCluster cluster, string body)
    {
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false });
        using HttpRequestMessage request = new(HttpMethod.Get, cluster.PeerUrl(0) + "/members/hashkv") { Content = new StringContent(body) };
        using HttpResponseMessage response = await client.SendAsync(request, Cancellation);
        return (response.StatusCode, await response.Content.ReadAsStringAsync(Cancellation));
    }

    private static async Task<string> GetAsync(Uri address)
    {
        using HttpClient client = new(new SocketsHttpHandler { UseProxy = false });
        return await client.GetStringAsync(address, Cancellation);
    }
}

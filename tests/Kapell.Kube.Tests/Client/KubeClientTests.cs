using System.Net;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Machinery;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace Kapell.Kube.Tests.Client;

public sealed class KubeClientTests
{
    private static readonly CancellationToken None = TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_list_gives_its_items_the_kind_that_the_server_left_out()
    {
        using FakeServer server = new((_, _) => FakeServer.Json(
            """{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a","namespace":"n"}},{}]}"""));
        KubeList list = await server.Client(new FakeTimeProvider()).ListAsync(Resources.Pods, "n", None);
        Assert.Equal("7", list.ResourceVersion);
        Assert.Equal(["Pod", "Pod"], list.Items.Select(i => i.Kind));
        Assert.Equal("v1", list.Items[0].ApiVersion);
        Assert.Equal(new ObjectKey("n", "a"), list.Items[0].Key);
    }

    [Fact]
    public async Task A_list_in_pages_is_followed_to_its_end()
    {
        using FakeServer server = new((request, _) => FakeServer.Json(request.RequestUri!.Query.Contains("continue=x", StringComparison.Ordinal)
            ? """{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]}"""
            : """{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"x"},"items":[{"metadata":{"name":"a"}}]}"""));
        KubeList list = await server.Client(new FakeTimeProvider()).ListAsync(Resources.Pods, "", new ListOptions { Limit = 1 }, None);
        Assert.Equal(["a", "b"], list.Items.Select(i => i.Name));
        Assert.Equal(["GET /api/v1/pods?limit=1", "GET /api/v1/pods?limit=1&continue=x"], server.Asked);
    }

    [Fact]
    public async Task A_refusal_is_thrown_as_the_servers_own_status()
    {
        Status status = Status.NotFound(new GroupResource("", "pods"), "web");
        using FakeServer server = new((_, _) => FakeServer.Json(status.ToJson().ToJsonString(), HttpStatusCode.NotFound));
        StatusException e = await Assert.ThrowsAsync<StatusException>(
            () => server.Client(new FakeTimeProvider()).GetAsync(Resources.Pods, new ObjectKey("default", "web"), None));
        Assert.True(e.IsNotFound);
        Assert.Equal("pods \"web\" not found", e.Message);
        Assert.Equal("web", e.Status.Name);
    }

    [Fact]
    public async Task A_request_that_is_not_idempotent_is_not_sent_twice()
    {
        using FakeServer server = new((_, _) =>
        {
            HttpResponseMessage busy = FakeServer.Json("busy", HttpStatusCode.TooManyRequests);
            busy.Headers.RetryAfter = new RetryConditionHeaderValue(TimeSpan.FromSeconds(1));
            return busy;
        });
        await Assert.ThrowsAsync<StatusException>(
            () => server.Client(new FakeTimeProvider()).CreateAsync(Resources.Pods, "default", new JsonObject(), None));
        Assert.Single(server.Asked);
    }

    [Fact]
    public async Task A_watch_yields_events_and_throws_the_status_of_an_error_event()
    {
        const string Lines = """
            {"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"5"}}}
            {"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"9"}}}
            {"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}}

            """;
        using FakeServer server = new((_, _) => FakeServer.Json(Lines));
        List<WatchEvent> seen = [];
        StatusException e = await Assert.ThrowsAsync<StatusException>(async () =>
        {
            await foreach (WatchEvent w in server.Client(new FakeTimeProvider()).WatchAsync(Resources.Pods, "", new ListOptions { ResourceVersion = "4" }, None))
            {
                seen.Add(w);
            }
        });
        Assert.True(e.IsGone);
        Assert.Equal([WatchEventType.Added, WatchEventType.Bookmark], seen.Select(s => s.Type));
        Assert.Equal("9", seen[1].Object.ResourceVersion);
    }
}

using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Client;
using Kapell.Kubelet.Pods;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Kapell.Kube.Tests.Kubelet;

public sealed class StatusManagerTests
{
    /// <summary>
    /// After a restart the first status may have none, while the API server has one of before: each list is sent as a whole, or the old address
    /// stays beside the new and the status is refused.
    /// </summary>
    [Fact]
    public async Task Addresses_replace_those_that_the_server_has()
    {
        using Server server = new();
        using KubeClient client = new(new RestConfig { Server = new Uri("http://127.0.0.1:1") }, server, TimeProvider.System);
        StatusManager manager = new(client, TimeProvider.System, NullLogger.Instance);
        Pod pod = PodFixtures.Pod("{}", status: """{"podIPs":[{"ip":"10.244.0.2"}]}""");
        manager.Set(pod, new JsonObject { ["phase"] = "Running" });
        await manager.FlushAsync(pod.Uid, TestContext.Current.CancellationToken);
        manager.Set(pod, new JsonObject
        {
            ["phase"] = "Running",
            ["hostIPs"] = new JsonArray(new JsonObject { ["ip"] = "192.0.2.2" }),
            ["podIPs"] = new JsonArray(new JsonObject { ["ip"] = "10.244.0.3" }),
        });
        await manager.FlushAsync(pod.Uid, TestContext.Current.CancellationToken);
        Assert.Equal(2, server.Patches.Count);
        JsonElement status = JsonDocument.Parse(server.Patches[1]).RootElement.GetProperty("status");
        Assert.Equal("""[{"$patch":"replace"},{"ip":"10.244.0.3"}]""", status.GetProperty("podIPs").GetRawText());
        Assert.Equal("""[{"$patch":"replace"},{"ip":"192.0.2.2"}]""", status.GetProperty("hostIPs").GetRawText());
    }

    private sealed class Server : HttpMessageHandler
    {
        public List<string> Patches { get; } = [];

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Patches.Add(await request.Content!.ReadAsStringAsync(cancellationToken));
            return new HttpResponseMessage(HttpStatusCode.OK)
            {
                Content = new StringContent("""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default","uid":"u1"}}""", Encoding.UTF8, "application/json"),
            };
        }
    }
}

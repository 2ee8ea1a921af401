using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Kapell.Kubelet.Cri;
using Kapell.Kubelet.Cri.V1;
using Kapell.Kubelet.Pods;
using Kapell.Kubelet.Runtime;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.Kubelet.Server;

/// <summary>Numbers of the node and its containers: <c>/stats/summary</c> and <c>/metrics</c>.</summary>
internal sealed class StatsEndpoints(CriClient cri, PodServices services)
{
    public async Task SummaryAsync(HttpContext context)
    {
        ListContainerStatsResponse stats = await cri.Runtime.ListContainerStatsAsync(
            new ListContainerStatsRequest { Filter = new ContainerStatsFilter() }, cancellationToken: context.RequestAborted);
        JsonArray pods = [];
        foreach (IGrouping<string, ContainerStats> pod in stats.Stats.GroupBy(s => s.Attributes.Labels.GetValueOrDefault(RuntimeLabels.PodUid, "")))
        {
            JsonArray containers = [];
            foreach (ContainerStats one in pod)
            {
                containers.Add((JsonNode)new JsonObject { ["name"] = one.Attributes.Metadata.Name, ["cpu"] = Cpu(one), ["memory"] = Memory(one) });
            }

            ContainerStats first = pod.First();
            pods.Add((JsonNode)new JsonObject
            {
                ["podRef"] = new JsonObject
                {
                    ["name"] = first.Attributes.Labels.GetValueOrDefault(RuntimeLabels.PodName, ""),
                    ["namespace"] = first.Attributes.Labels.GetValueOrDefault(RuntimeLabels.PodNamespace, ""), ["uid"] = pod.Key,
                },
                ["containers"] = containers,
            });
        }

        JsonObject node = new()
        {
            ["nodeName"] = services.Options.NodeName,
            ["memory"] = new JsonObject
            {
                ["time"] = PodStatusBuilder.Time(services.Time.GetUtcNow()), ["availableBytes"] = MemoryAvailable(),
                ["workingSetBytes"] = (long)services.Machine.MemoryBytes - MemoryAvailable(),
            },
        };
        context.Response.ContentType = "application/json";
        await context.Response.Body.WriteAsync(JsonBytes.Of(new JsonObject { ["node"] = node, ["pods"] = pods }), context.RequestAborted);
    }

    public async Task MetricsAsync(HttpContext context, bool resourceOnly)
    {
        StringBuilder text = new();
        ListContainerStatsResponse stats = await cri.Runtime.ListContainerStatsAsync(
            new ListContainerStatsRequest { Filter = new ContainerStatsFilter() }, cancellationToken: context.RequestAborted);
        text.Append("# TYPE container_cpu_usage_seconds_total counter\n");
        foreach (ContainerStats one in stats.Stats)
        {
            text.Append(CultureInfo.InvariantCulture, $"container_cpu_usage_seconds_total{Labels(one)} {(one.Cpu?.UsageCoreNanoSeconds?.Value ?? 0) / 1e9}\n");
        }

        text.Append("# TYPE container_memory_working_set_bytes gauge\n");
        foreach (ContainerStats one in stats.Stats)
        {
            text.Append(CultureInfo.InvariantCulture, $"container_memory_working_set_bytes{Labels(one)} {one.Memory?.WorkingSetBytes?.Value ?? 0}\n");
        }

        if (!resourceOnly)
        {
            text.Append("# TYPE kubelet_running_containers gauge\n").Append(CultureInfo.InvariantCulture, $"kubelet_running_containers {stats.Stats.Count}\n");
        }

        context.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(text.ToString()), context.RequestAborted);
    }

    private static string Labels(ContainerStats one) =>
        $"{{container=\"{one.Attributes.Metadata.Name}\",namespace=\"{one.Attributes.Labels.GetValueOrDefault(RuntimeLabels.PodNamespace, "")}\"," +
        $"pod=\"{one.Attributes.Labels.GetValueOrDefault(RuntimeLabels.PodName, "")}\"}}";

    private static JsonObject Cpu(ContainerStats one) => new()
    {
        ["time"] = PodStatusBuilder.Time(DateTimeOffset.UnixEpoch.AddTicks((one.Cpu?.Timestamp ?? 0) / 100)),
        ["usageNanoCores"] = (long)(one.Cpu?.UsageNanoCores?.Value ?? 0), ["usageCoreNanoSeconds"] = (long)(one.Cpu?.UsageCoreNanoSeconds?.Value ?? 0),
    };

    private static JsonObject Memory(ContainerStats one) => new()
    {
        ["time"] = PodStatusBuilder.Time(DateTimeOffset.UnixEpoch.AddTicks((one.Memory?.Timestamp ?? 0) / 100)),
        ["workingSetBytes"] = (long)(one.Memory?.WorkingSetBytes?.Value ?? 0),
    };

    private static long MemoryAvailable()
    {
        string line = File.ReadLines("/proc/meminfo").FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal), "");
        return long.TryParse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1), out long kilobytes) ? kilobytes * 1024 : 0;
    }
}

using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Kubelet.Pods;
using Kapell.Machinery;

namespace Kapell.Kubelet.Node;

/// <summary>What the runtime said of itself at the last look.</summary>
internal sealed record RuntimeHealth(bool Ready, string NotReadyMessage, string Name, string Version)
{
    public static readonly RuntimeHealth Unknown = new(false, "container runtime status check may not have completed yet", "containerd", "");
}

/// <summary>One image as the node's status lists it.</summary>
internal sealed record NodeImage(IReadOnlyList<string> Names, long SizeBytes);

/// <summary>Writes the Node object and its status. A function of its arguments. // Kubernetes: pkg/kubelet/nodestatus/setters.go</summary>
internal static class NodeObject
{
    private const int ImagesMax = 50;
    private const int NamesPerImageMax = 5;
    private const string KubeletVersion = Client.KubernetesVersion.Reported;

    public static JsonObject New(KubeletOptions options, MachineInfo machine)
    {
        JsonObject labels = new()
        {
            ["beta.kubernetes.io/arch"] = machine.Architecture, ["beta.kubernetes.io/os"] = "linux", ["kubernetes.io/arch"] = machine.Architecture,
            ["kubernetes.io/hostname"] = options.NodeName, ["kubernetes.io/os"] = "linux",
        };
        foreach ((string key, string value) in options.NodeLabels)
        {
            labels[key] = value;
        }

        JsonObject spec = [];
        if (options.Taints.Count > 0)
        {
            JsonArray taints = [];
            foreach ((string key, string value, string effect) in options.Taints)
            {
                JsonObject taint = new() { ["key"] = key, ["effect"] = effect };
                if (value.Length > 0)
                {
                    taint["value"] = value;
                }

                taints.Add((JsonNode)taint);
            }

            spec["taints"] = taints;
        }

        return new JsonObject
        {
            ["apiVersion"] = "v1", ["kind"] = "Node",
            ["metadata"] = new JsonObject
            {
                ["name"] = options.NodeName, ["labels"] = labels,
                ["annotations"] = new JsonObject { ["volumes.kubernetes.io/controller-managed-attach-detach"] = "true" },
            },
            ["spec"] = spec,
        };
    }

    public static decimal Allocatable(KubeletOptions options, MachineInfo machine, string resource) => resource switch
    {
        "cpu" => machine.Cpus - options.Reserved.GetValueOrDefault("cpu"),
        "memory" => machine.MemoryBytes - options.Reserved.GetValueOrDefault("memory") - (100 * 1024 * 1024), // The hard eviction threshold.
        "ephemeral-storage" => Math.Floor((machine.StorageBytes * 0.9m) - options.Reserved.GetValueOrDefault("ephemeral-storage")),
        _ => 0,
    };

    public static JsonObject Status(
        KubeletOptions options, MachineInfo machine, RuntimeHealth health, IReadOnlyList<NodeImage> images, JsonElement previous, DateTimeOffset now)
    {
        JsonObject capacity = Resources(options, machine.Cpus, machine.MemoryBytes, machine.StorageBytes, "Ki");
        JsonObject allocatable = Resources(
            options, Allocatable(options, machine, "cpu"), Allocatable(options, machine, "memory"), Allocatable(options, machine, "ephemeral-storage"), "");
        JsonArray addresses = [];
        foreach (string ip in options.NodeIps)
        {
            addresses.Add((JsonNode)new JsonObject { ["type"] = "InternalIP", ["address"] = ip });
        }

        addresses.Add((JsonNode)new JsonObject { ["type"] = "Hostname", ["address"] = options.NodeName });
        return new JsonObject
        {
            ["capacity"] = capacity, ["allocatable"] = allocatable, ["addresses"] = addresses,
            ["conditions"] = Conditions(health, previous, now),
            ["daemonEndpoints"] = new JsonObject { ["kubeletEndpoint"] = new JsonObject { ["Port"] = options.Port } },
            ["nodeInfo"] = new JsonObject
            {
                ["architecture"] = machine.Architecture, ["bootID"] = machine.BootId, ["containerRuntimeVersion"] = $"{health.Name}://{health.Version}",
                ["kernelVersion"] = machine.KernelVersion, ["kubeProxyVersion"] = "", ["kubeletVersion"] = KubeletVersion,
                ["machineID"] = machine.MachineId, ["operatingSystem"] = "linux", ["osImage"] = machine.OsImage, ["systemUUID"] = machine.MachineId,
            },
            ["images"] = Images(images),
        };
    }

    private static JsonObject Resources(KubeletOptions options, decimal cpus, decimal memory, decimal storage, string unit) => new()
    {
        ["cpu"] = cpus == Math.Floor(cpus) ? Text(cpus) : Text(Math.Floor(cpus * 1000)) + "m",
        ["ephemeral-storage"] = unit == "Ki" ? Text(Math.Floor(storage / 1024)) + "Ki" : Text(storage),
        ["hugepages-1Gi"] = "0", ["hugepages-2Mi"] = "0", ["memory"] = Text(Math.Floor(memory / 1024)) + "Ki",
        ["pods"] = options.MaxPods.ToString(CultureInfo.InvariantCulture),
    };

    private static string Text(decimal value) => value.ToString("0", CultureInfo.InvariantCulture);

    private static JsonArray Conditions(RuntimeHealth health, JsonElement previous, DateTimeOffset now)
    {
        JsonArray list = [];
        void Add(string type, bool status, string reason, string message)
        {
            string text = status ? "True" : "False";
            JsonElement before = previous.Items("conditions").FirstOrDefault(c => c.Text("type") == type);
            string since = before.Text("status") == text && before.Text("lastTransitionTime") is { Length: > 0 } then ? then : PodStatusBuilder.Time(now);
            list.Add((JsonNode)new JsonObject
            {
                ["type"] = type, ["status"] = text, ["lastHeartbeatTime"] = PodStatusBuilder.Time(now), ["lastTransitionTime"] = since,
                ["reason"] = reason, ["message"] = message,
            });
        }

        Add("MemoryPressure", false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available");
        Add("DiskPressure", false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure");
        Add("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available");
        if (health.Ready)
        {
            Add("Ready", true, "KubeletReady", "kubelet is posting ready status");
        }
        else
        {
            Add("Ready", false, "KubeletNotReady", health.NotReadyMessage);
        }

        return list;
    }

    private static JsonArray Images(IReadOnlyList<NodeImage> images)
    {
        JsonArray list = [];
        foreach (NodeImage image in images.OrderByDescending(i => i.SizeBytes).Take(ImagesMax))
        {
            JsonArray names = [];
            foreach (string name in image.Names.Take(NamesPerImageMax))
            {
                names.Add((JsonNode?)JsonValue.Create(name));
            }

            list.Add((JsonNode)new JsonObject { ["names"] = names, ["sizeBytes"] = image.SizeBytes });
        }

        return list;
    }
}

using System.Text.Json.Nodes;
using Kapell.Base;
using Kapell.Cli.Node;

namespace Kapell.Cli.Up;

/// <summary><c>kapell status</c>: is it up, are its parts well, what runs. Exit code 0 when all is well, 3 when it is not running, 1 when something is ill.</summary>
internal static class StatusCommand
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, TextWriter output)
    {
        FlagSet flags = new("kapell status", "Shows whether the cluster of a data folder is up and its parts are well. Exit code 0: well, 1: something is ill, 3: not running.");
        FlagValue<string> dataDir = flags.String("data-dir", ClusterLayout.DefaultDataDir, "The cluster's folder.");
        flags.Examples.Add("kapell status --data-dir /tmp/one");
        flags.Parse(args);
        if (flags.HelpWanted)
        {
            output.Write(flags.Help());
            return 0;
        }

        ClusterLayout layout = new(dataDir.Value);
        if (InstanceLock.Holder(layout) is not { } pid)
        {
            output.WriteLine($"no kapell runs on {layout.DataDir}\n  next: kapell up --data-dir {layout.DataDir}");
            return 3;
        }

        output.WriteLine($"kapell   process {pid}, {HostFacts.ResidentBytes(pid) >> 20} MiB resident, data in {layout.DataDir}");
        JsonNode? facts = File.Exists(layout.ReadyFile) ? JsonNode.Parse(await File.ReadAllTextAsync(layout.ReadyFile)) : null;
        if (facts is null)
        {
            output.WriteLine($"starting, not ready yet\n  next: see {layout.Logs}");
            return 1;
        }

        return await ShowPartsAsync(layout, facts, output) ? 0 : 1;
    }

    private static async Task<bool> ShowPartsAsync(ClusterLayout layout, JsonNode facts, TextWriter output)
    {
        int etcdPort = (int)facts["etcdPort"]!;
        int securePort = (int)facts["securePort"]!;
        using ClusterClient store = new(layout, "etcd-ca", "apiserver-etcd-client", etcdPort);
        using ClusterClient api = new(layout, "ca", "admin", securePort);
        bool well = Show(output, "store", $"https://127.0.0.1:{etcdPort}", await store.TryGetAsync("/health", CancellationToken.None));
        well &= Show(output, "API", $"https://127.0.0.1:{securePort}", await api.TryGetAsync("/readyz", CancellationToken.None));
        int? containerd = new ContainerdRunner(layout, TimeProvider.System).FindRunning();
        output.WriteLine($"{"runtime",-8} {(containerd is null ? "containerd is not running" : $"containerd, process {containerd}, {HostFacts.ResidentBytes(containerd.Value) >> 20} MiB")}");
        output.WriteLine($"{"images",-8} http://127.0.0.1:{facts["mirrorPort"]} from {facts["images"]}{((bool)facts["offline"]! ? ", offline" : "")}");
        JsonNode? nodes = await api.TryReadAsync("/api/v1/nodes", CancellationToken.None);
        foreach (JsonNode? node in nodes?["items"]?.AsArray() ?? [])
        {
            JsonNode? ready = node?["status"]?["conditions"]?.AsArray().FirstOrDefault(c => (string?)c?["type"] == "Ready");
            bool good = (string?)ready?["status"] == "True";
            well &= good;
            output.WriteLine($"{"node",-8} {node?["metadata"]?["name"]} {(good ? "Ready" : "not Ready: " + ready?["message"])}");
        }

        JsonNode? pods = await api.TryReadAsync("/api/v1/pods", CancellationToken.None);
        IEnumerable<string> phases = (pods?["items"]?.AsArray() ?? []).GroupBy(p => (string?)p?["status"]?["phase"] ?? "Unknown").Select(g => $"{g.Count()} {g.Key}");
        output.WriteLine($"{"pods",-8} {string.Join(", ", phases.DefaultIfEmpty("none"))}");
        return well && containerd is not null && nodes is not null;
    }

    private static bool Show(TextWriter output, string part, string address, (bool Good, string Text) answer)
    {
        output.WriteLine($"{part,-8} {address} {(answer.Good ? "well" : "ill: " + answer.Text.Trim())}");
        return answer.Good;
    }
}

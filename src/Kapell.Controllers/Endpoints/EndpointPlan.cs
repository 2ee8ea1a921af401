using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Endpoints;

/// <summary>One pod as a service's endpoint. Equality is what decides whether a slice must be written.</summary>
internal sealed record EndpointEntry(string Address, string PodName, string PodUid, string PodNamespace, string Node, string Zone, string Hostname,
    bool Ready, bool Serving, bool Terminating);

/// <summary>One port of a service as resolved in a set of pods.</summary>
internal sealed record EndpointPort(string Name, string Protocol, int Number, string AppProtocol);

/// <summary>Endpoints that share ports and address family.</summary>
internal sealed record EndpointGroup(string Family, IReadOnlyList<EndpointPort> Ports, IReadOnlyList<EndpointEntry> Endpoints);

/// <summary>
/// What the endpoints of a service should be: a function of the service and its pods (pkg/controller/util/endpoint,
/// staging endpointslice/utils.go). Deterministic: entries are ordered by address.
/// </summary>
internal static class EndpointPlan
{
    public static IReadOnlyList<EndpointGroup> Of(KubeObject service, IEnumerable<KubeObject> pods, Func<string, string> zoneOf)
    {
        bool publishNotReady = service.Spec.Bool("publishNotReadyAddresses");
        Dictionary<string, (string Family, IReadOnlyList<EndpointPort> Ports, SortedDictionary<string, EndpointEntry> Entries)> groups = new(StringComparer.Ordinal);
        foreach (KubeObject pod in pods)
        {
            if (pod.IsFinished())
            {
                continue;
            }

            IReadOnlyList<EndpointPort> ports = PortsOf(service, pod);
            foreach ((string family, string address) in AddressesOf(service, pod))
            {
                string key = family + "|" + string.Join('|', ports);
                if (!groups.TryGetValue(key, out (string Family, IReadOnlyList<EndpointPort> Ports, SortedDictionary<string, EndpointEntry> Entries) group))
                {
                    groups.Add(key, group = (family, ports, new SortedDictionary<string, EndpointEntry>(StringComparer.Ordinal)));
                }

                bool serving = pod.IsReady();
                group.Entries[address + " " + pod.Uid] = new EndpointEntry(
                    address, pod.Name, pod.Uid, pod.Namespace, pod.NodeName(), zoneOf(pod.NodeName()), HostnameOf(service, pod),
                    publishNotReady || (serving && !pod.IsDeleting), serving, pod.IsDeleting);
            }
        }

        return [.. groups.OrderBy(g => g.Key, StringComparer.Ordinal).Select(g => new EndpointGroup(g.Value.Family, g.Value.Ports, [.. g.Value.Entries.Values]))];
    }

    private static string HostnameOf(KubeObject service, KubeObject pod) =>
        pod.Spec.Text("subdomain") == service.Name && pod.Namespace == service.Namespace ? pod.Spec.Text("hostname") : "";

    private static IEnumerable<(string Family, string Address)> AddressesOf(KubeObject service, KubeObject pod)
    {
        List<string> wanted = [.. service.Spec.Items("ipFamilies").Select(f => f.GetString() ?? "")];
        List<string> ips = [.. pod.Status.Items("podIPs").Select(i => i.Text("ip")).Where(i => i.Length > 0)];
        if (ips.Count == 0 && pod.Status.Text("podIP") is { Length: > 0 } only)
        {
            ips.Add(only);
        }

        foreach (string ip in ips)
        {
            string family = ip.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4";
            if (wanted.Count == 0 || wanted.Contains(family))
            {
                yield return (family, ip);
            }
        }
    }

    private static List<EndpointPort> PortsOf(KubeObject service, KubeObject pod)
    {
        List<EndpointPort> ports = [];
        foreach (JsonElement p in service.Spec.Items("ports"))
        {
            string protocol = p.Text("protocol") is { Length: > 0 } text ? text : "TCP";
            if (FindPort(p.Get("targetPort"), p.Long("port"), protocol, pod) is { } number)
            {
                ports.Add(new EndpointPort(p.Text("name"), protocol, number, p.Text("appProtocol")));
            }
        }

        return ports;
    }

    // podutil.FindPort: a number is itself, a name is looked up among the containers' ports of the same protocol.
    private static int? FindPort(JsonElement target, long servicePort, string protocol, KubeObject pod)
    {
        if (target.ValueKind == JsonValueKind.Number && target.TryGetInt32(out int number))
        {
            return number == 0 ? (int)servicePort : number;
        }

        if (target.ValueKind != JsonValueKind.String)
        {
            return (int)servicePort;
        }

        IEnumerable<JsonElement> sidecars = pod.Spec.Items("initContainers").Where(c => c.Text("restartPolicy") == "Always");
        foreach (JsonElement port in pod.Spec.Items("containers").Concat(sidecars).SelectMany(c => c.Items("ports")))
        {
            string declared = port.Text("protocol") is { Length: > 0 } text ? text : "TCP";
            if (port.Text("name") == target.GetString() && declared == protocol)
            {
                return (int)port.Long("containerPort");
            }
        }

        return null;
    }

    public static JsonObject TargetRef(EndpointEntry e) => new()
    {
        ["kind"] = "Pod", ["namespace"] = e.PodNamespace, ["name"] = e.PodName, ["uid"] = e.PodUid,
    };
}

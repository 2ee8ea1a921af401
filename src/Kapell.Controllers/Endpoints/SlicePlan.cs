using System.Text.Json.Nodes;
using Kapell.Controllers.Shared;
using Kapell.Machinery;

namespace Kapell.Controllers.Endpoints;

/// <summary>The writes that turn the slices there are into the slices there should be.</summary>
internal sealed record SliceChanges(IReadOnlyList<JsonObject> Create, IReadOnlyList<(ObjectKey Key, JsonObject Slice)> Update, IReadOnlyList<KubeObject> Delete);

/// <summary>Packs endpoints into slices of at most 100, changing as few as it can (endpointslice/reconciler.go). Pure.</summary>
internal static class SlicePlan
{
    public const string ServiceName = "kubernetes.io/service-name";
    public const string ManagedBy = "endpointslice.kubernetes.io/managed-by";
    public const string Manager = "endpointslice-controller.k8s.io";
    private const string Headless = "service.kubernetes.io/headless";
    private const int EndpointsMax = 100;

    public static SliceChanges Changes(KubeObject service, IReadOnlyList<EndpointGroup> groups, IReadOnlyList<KubeObject> existing)
    {
        List<JsonObject> create = [];
        List<(ObjectKey, JsonObject)> update = [];
        List<KubeObject> unused = [.. existing.Where(s => !s.IsDeleting).OrderBy(s => s.Created()).ThenBy(s => s.Name, StringComparer.Ordinal)];
        foreach (EndpointGroup group in groups.Count > 0 ? groups : Placeholder(service))
        {
            string ports = JsonBytesText(Ports(group.Ports));
            List<KubeObject> same = [.. unused.Where(s => s.Root.Text("addressType") == group.Family && JsonBytesText(PortsOf(s)) == ports)];
            EndpointEntry[][] chunks = group.Endpoints.Count == 0 ? [[]] : [.. group.Endpoints.Chunk(EndpointsMax)];
            for (int i = 0; i < chunks.Length; i++)
            {
                JsonObject wanted = Make(service, group, chunks[i]);
                if (i >= same.Count)
                {
                    create.Add(wanted);
                    continue;
                }

                unused.Remove(same[i]);
                if (Merge(same[i], wanted) is { } changed)
                {
                    update.Add((same[i].Key, changed));
                }
            }
        }

        return new SliceChanges(create, update, unused);
    }

    // A service without endpoints keeps one empty slice, so that watchers can tell "none" from "not yet" (placeholder slice).
    private static List<EndpointGroup> Placeholder(KubeObject service)
    {
        string[] families = [.. service.Spec.Items("ipFamilies").Select(f => f.GetString() ?? "IPv4")];
        return [.. (families.Length > 0 ? families : ["IPv4"]).Select(f => new EndpointGroup(f, [], []))];
    }

    private static JsonObject Make(KubeObject service, EndpointGroup group, EndpointEntry[] entries)
    {
        JsonObject labels = Documents.Map(service.Labels.Where(l => l.Key is not (ServiceName or ManagedBy or Headless)));
        labels[ServiceName] = service.Name;
        labels[ManagedBy] = Manager;
        if (service.Spec.Text("clusterIP") == "None")
        {
            labels[Headless] = "";
        }

        return new JsonObject
        {
            ["apiVersion"] = "discovery.k8s.io/v1",
            ["kind"] = "EndpointSlice",
            ["metadata"] = new JsonObject
            {
                ["generateName"] = service.Name + "-", ["namespace"] = service.Namespace, ["labels"] = labels,
                ["ownerReferences"] = new JsonArray(Owners.ControllerReference(service)),
            },
            ["addressType"] = group.Family,
            ["endpoints"] = new JsonArray([.. entries.Select(Endpoint)]),
            ["ports"] = Ports(group.Ports),
        };
    }

    /// <summary>Null when the slice is already right.</summary>
    private static JsonObject? Merge(KubeObject slice, JsonObject wanted)
    {
        JsonObject changed = slice.ToNode();
        JsonObject metadata = changed.Child("metadata");
        bool same = JsonNode.DeepEquals(Documents.Canonical(changed["endpoints"]) ?? new JsonArray(), Documents.Canonical(wanted["endpoints"]))
            && JsonNode.DeepEquals(metadata["labels"], wanted["metadata"]!["labels"]);
        if (same)
        {
            return null;
        }

        changed["endpoints"] = wanted["endpoints"]!.DeepClone(); // Make sets both
        metadata["labels"] = wanted["metadata"]!["labels"]!.DeepClone();
        return changed;
    }

    private static JsonNode? Endpoint(EndpointEntry e)
    {
        JsonObject json = new()
        {
            ["addresses"] = new JsonArray(e.Address),
            ["conditions"] = new JsonObject { ["ready"] = e.Ready, ["serving"] = e.Serving, ["terminating"] = e.Terminating },
            ["targetRef"] = EndpointPlan.TargetRef(e),
        };
        json.SetOrRemove("nodeName", e.Node);
        json.SetOrRemove("zone", e.Zone);
        json.SetOrRemove("hostname", e.Hostname);
        return json;
    }

    private static JsonArray Ports(IReadOnlyList<EndpointPort> ports) => new([.. ports.Select(p =>
    {
        JsonObject json = new() { ["name"] = p.Name, ["protocol"] = p.Protocol, ["port"] = p.Number };
        json.SetOrRemove("appProtocol", p.AppProtocol);
        return (JsonNode?)json;
    })]);

    private static JsonArray PortsOf(KubeObject slice) => new([.. slice.Root.Items("ports").Select(p =>
    {
        JsonObject json = new() { ["name"] = p.Text("name"), ["protocol"] = p.Text("protocol"), ["port"] = p.Long("port") };
        json.SetOrRemove("appProtocol", p.Text("appProtocol"));
        return (JsonNode?)json;
    })]);

    private static string JsonBytesText(JsonNode node) => System.Text.Encoding.UTF8.GetString(JsonBytes.Of(node));
}

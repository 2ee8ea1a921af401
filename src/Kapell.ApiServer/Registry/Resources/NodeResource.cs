using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Node, kept under <c>minions</c> as it has been since its first name.</summary>
internal static class NodeResource
{
    private const string RolePrefix = "node-role.kubernetes.io/";
    private const string RoleLabel = "kubernetes.io/role";
    private const string Unknown = "<unknown>";

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Node",
        Plural = "nodes",
        Singular = "node",
        ShortNames = ["no"],
        Namespaced = false,
        SchemaName = "io.k8s.api.core.v1.Node",
        StorageKey = "minions",
        Default = Default,
        // A kubelet registers its node with the status it has (upstream: nodeStrategy keeps the status on create).
        PrepareForCreate = static (_, _) => { },
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = NodeValidation.Node,
        ValidateUpdate = NodeValidation.NodeUpdate,
        Subresources =
        [
            Strategies.Elsewhere("proxy", "v1 NodeProxyOptions", "create", "delete", "get", "patch", "update"),
            Strategies.Status("v1 Node", validate: NodeValidation.StatusUpdate),
        ],
        SelectableFields = new Dictionary<string, Func<JsonElement, string>>
        {
            ["spec.unschedulable"] = static o => o.Get("spec").Bool("unschedulable") ? "true" : "false",
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("Status", "The status of the node"),
            Columns.Text("Roles", "The roles of the node"),
            Columns.Age,
            Columns.Text("Version", "Kubelet version reported by the node."),
            Columns.Text("Internal-IP", "Address of the node inside the cluster.", 1),
            Columns.Text("External-IP", "Address of the node from outside.", 1),
            Columns.Text("OS-Image", "Operating system reported by the node.", 1),
            Columns.Text("Kernel-Version", "Kernel version reported by the node.", 1),
            Columns.Text("Container-Runtime", "Container runtime and version reported by the node.", 1),
        ],
        Row = Row,
    };

    private static void Default(JsonObject node)
    {
        node.Ensure("spec");
        if (node.Obj("status") is not { } status)
        {
            return;
        }

        Quantities.Canonicalize(status.Obj("capacity"));
        Quantities.Canonicalize(status.Obj("allocatable"));
        if (!status.Has("allocatable") && status.Obj("capacity") is { } capacity)
        {
            status["allocatable"] = capacity.DeepClone();
        }
    }

    private static object?[] Row(JsonElement node, DateTimeOffset now)
    {
        JsonElement info = node.Get("status", "nodeInfo");
        return
        [
            Columns.NameOf(node),
            StatusOf(node),
            RolesOf(node),
            HumanDuration.Age(node, now),
            info.Text("kubeletVersion"),
            Address(node, "InternalIP"),
            Address(node, "ExternalIP"),
            OrUnknown(info.Text("osImage")),
            OrUnknown(info.Text("kernelVersion")),
            OrUnknown(info.Text("containerRuntimeVersion")),
        ];
    }

    private static string StatusOf(JsonElement node)
    {
        JsonElement ready = node.Get("status").Items("conditions").FirstOrDefault(c => c.Text("type") == "Ready");
        string text = ready.ValueKind == JsonValueKind.Undefined ? "Unknown" : ready.Text("status") == "True" ? "Ready" : "NotReady";
        return node.Get("spec").Bool("unschedulable") ? text + ",SchedulingDisabled" : text;
    }

    private static string RolesOf(JsonElement node)
    {
        SortedSet<string> roles = new(StringComparer.Ordinal);
        foreach ((string label, string value) in node.Get("metadata").TextMap("labels"))
        {
            if (label.StartsWith(RolePrefix, StringComparison.Ordinal) && label.Length > RolePrefix.Length)
            {
                roles.Add(label[RolePrefix.Length..]);
            }
            else if (label == RoleLabel && value.Length > 0)
            {
                roles.Add(value);
            }
        }

        return Columns.OrNone(string.Join(',', roles));
    }

    private static string Address(JsonElement node, string type) =>
        Columns.OrNone(node.Get("status").Items("addresses").FirstOrDefault(a => a.Text("type") == type).Text("address"));

    private static string OrUnknown(string text) => text.Length == 0 ? Unknown : text;
}

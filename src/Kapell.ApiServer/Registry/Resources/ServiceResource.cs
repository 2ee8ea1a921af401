using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>core/v1 Service; cluster addresses and node ports are given by ServiceAllocation, not here.</summary>
internal static class ServiceResource
{
    private const long StickySeconds = 10800;

    public static ResourceDefinition Definition { get; } = new()
    {
        Group = "",
        Version = "v1",
        Kind = "Service",
        Plural = "services",
        Singular = "service",
        ShortNames = ["svc"],
        Categories = ["all"],
        Namespaced = true,
        SchemaName = "io.k8s.api.core.v1.Service",
        StorageKey = "services/specs",
        ReturnDeletedObject = true,
        NameRule = NameRule.Dns1035Label,
        Default = Default,
        PrepareForCreate = static (o, _) => o["status"] = new JsonObject { ["loadBalancer"] = new JsonObject() },
        PrepareForUpdate = Strategies.UpdateWithoutStatus,
        Validate = ServiceValidation.Service,
        ValidateUpdate = ServiceValidation.ServiceUpdate,
        Subresources =
        [
            Strategies.Elsewhere("proxy", "v1 ServiceProxyOptions", "create", "delete", "get", "patch", "update"),
            Strategies.Status("v1 Service", validate: StatusValidation.Service),
        ],
        SelectableFields = new Dictionary<string, Func<JsonElement, string>>
        {
            ["spec.clusterIP"] = static o => o.Get("spec").Text("clusterIP"),
            ["spec.type"] = static o => o.Get("spec").Text("type"),
        },
        Columns =
        [
            Columns.Name,
            Columns.Text("Type", "How the service is exposed."),
            Columns.Text("Cluster-IP", "Address of the service inside the cluster."),
            Columns.Text("External-IP", "Addresses that reach the service from outside."),
            Columns.Text("Port(s)", "Ports of the service."),
            Columns.Age,
            Columns.Text("Selector", "Labels of the pods the service routes to.", 1),
        ],
        Row = Row,
    };

    private static void Default(JsonObject service)
    {
        JsonObject spec = service.Ensure("spec");
        spec.DefaultText("sessionAffinity", "None");
        spec.DefaultText("type", "ClusterIP");
        string type = spec.Text("type");
        switch (spec.Text("sessionAffinity"))
        {
            case "None":
                spec.Remove("sessionAffinityConfig");
                break;
            case "ClientIP" when spec.Obj("sessionAffinityConfig", "clientIP").Long("timeoutSeconds") is null:
                spec["sessionAffinityConfig"] = new JsonObject { ["clientIP"] = new JsonObject { ["timeoutSeconds"] = StickySeconds } };
                break;
        }

        foreach (JsonObject port in spec.Items("ports"))
        {
            port.DefaultText("protocol", "TCP");
            if ((port["targetPort"] is null || port.Long("targetPort") == 0 || port["targetPort"].AsText() == "") && port.Long("port") is { } number)
            {
                port["targetPort"] = number;
            }
        }

        bool external = type is "LoadBalancer" or "NodePort" || (type == "ClusterIP" && spec.HasItems("externalIPs"));
        if (external)
        {
            spec.DefaultText("externalTrafficPolicy", "Cluster");
        }

        if (type is "NodePort" or "LoadBalancer" or "ClusterIP")
        {
            spec.Default("internalTrafficPolicy", "Cluster");
        }

        service.Ensure("status").Ensure("loadBalancer");
        if (type == "LoadBalancer")
        {
            spec.Default("allocateLoadBalancerNodePorts", true);
            foreach (JsonObject ingress in service.Obj("status", "loadBalancer").Items("ingress").Where(i => i.Text("ip").Length > 0))
            {
                ingress.Default("ipMode", "VIP");
            }
        }
    }

    private static object?[] Row(JsonElement service, DateTimeOffset now)
    {
        JsonElement spec = service.Get("spec");
        string clusterIP = spec.Items("clusterIPs").Select(i => i.GetString() ?? "").FirstOrDefault() ?? spec.Text("clusterIP");
        return
        [
            Columns.NameOf(service),
            spec.Text("type"),
            Columns.OrNone(clusterIP),
            ExternalIP(service),
            Ports(spec),
            HumanDuration.Age(service, now),
            Columns.Labels(spec.TextMap("selector")),
        ];
    }

    private static string ExternalIP(JsonElement service)
    {
        JsonElement spec = service.Get("spec");
        string listed = string.Join(',', spec.Items("externalIPs").Select(i => i.GetString()));
        switch (spec.Text("type"))
        {
            case "LoadBalancer":
                string balancer = string.Join(',', service.Get("status", "loadBalancer").Items("ingress")
                    .Select(i => i.Text("ip") is { Length: > 0 } ip ? ip : i.Text("hostname"))
                    .Where(t => t.Length > 0).Distinct().Order(StringComparer.Ordinal));
                string all = listed.Length == 0 ? balancer : balancer.Length == 0 ? listed : balancer + "," + listed;
                return all.Length == 0 ? "<pending>" : all;
            case "ExternalName":
                return spec.Text("externalName");
            case "ClusterIP" or "NodePort":
                return Columns.OrNone(listed);
            default:
                return "<unknown>";
        }
    }

    private static string Ports(JsonElement spec) => Columns.OrNone(string.Join(',', spec.Items("ports").Select(p => p.Long("nodePort") > 0
        ? $"{p.Long("port")}:{p.Long("nodePort")}/{p.Text("protocol")}"
        : $"{p.Long("port")}/{p.Text("protocol")}")));
}

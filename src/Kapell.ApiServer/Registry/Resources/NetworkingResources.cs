using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Tables;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>networking.k8s.io/v1 Ingress, IngressClass and NetworkPolicy.</summary>
internal static class NetworkingResources
{
    private const string Group = "networking.k8s.io";
    private const int HostsShown = 3;

    public static ResourceDefinition Ingress { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "Ingress",
        Plural = "ingresses",
        Singular = "ingress",
        ShortNames = ["ing"],
        Namespaced = true,
        SchemaName = "io.k8s.api.networking.v1.Ingress",
        StorageKey = "ingress",
        Default = static o => o.Ensure("status").Ensure("loadBalancer"),
        PrepareForCreate = static (o, facts) =>
        {
            Strategies.CreateWithSpecAndStatus(o, facts);
            o["status"] = new JsonObject { ["loadBalancer"] = new JsonObject() };
        },
        PrepareForUpdate = Strategies.UpdateWithSpecAndStatus,
        Validate = NetworkingValidation.Ingress,
        Subresources = [Strategies.Status("networking.k8s.io/v1 Ingress")],
        Columns =
        [
            Columns.Name,
            Columns.Text("Class", "The name of the IngressClass resource that should be used for additional configuration"),
            Columns.Text("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
            Columns.Text("Address", "Address is a list containing ingress points for the load-balancer"),
            Columns.Text("Ports", "Ports of TLS configurations that open"),
            Columns.Age,
        ],
        Row = static (o, now) =>
        [
            Columns.NameOf(o), Columns.OrNone(o.Get("spec").Text("ingressClassName")), Hosts(o), Addresses(o),
            o.Get("spec").Items("tls").Any() ? "80, 443" : "80", HumanDuration.Age(o, now),
        ],
    };

    public static ResourceDefinition IngressClass { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "IngressClass",
        Plural = "ingressclasses",
        Singular = "ingressclass",
        Namespaced = false,
        SchemaName = "io.k8s.api.networking.v1.IngressClass",
        StorageKey = "ingressclasses",
        Default = static o => o.Obj("spec", "parameters")?.DefaultText("scope", "Cluster"),
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = static (updated, old, _) => Strategies.CountGeneration(updated, old, updated["spec"].SameAs(old["spec"])),
        Validate = NetworkingValidation.IngressClass,
        ValidateUpdate = NetworkingValidation.IngressClassUpdate,
        Columns =
        [
            Columns.Name,
            Columns.Text("Controller", "Controller that is responsible for handling this class"),
            Columns.Text("Parameters", "A reference to a resource with additional parameters"),
            Columns.Age,
        ],
        Row = static (o, now) => [Columns.NameOf(o), o.Get("spec").Text("controller"), Parameters(o.Get("spec", "parameters")), HumanDuration.Age(o, now)],
    };

    public static ResourceDefinition NetworkPolicy { get; } = new()
    {
        Group = Group,
        Version = "v1",
        Kind = "NetworkPolicy",
        Plural = "networkpolicies",
        Singular = "networkpolicy",
        ShortNames = ["netpol"],
        Namespaced = true,
        SchemaName = "io.k8s.api.networking.v1.NetworkPolicy",
        StorageKey = "networkpolicies",
        Default = PolicyDefault,
        PrepareForCreate = static (o, _) => o.Ensure("metadata")["generation"] = 1L,
        PrepareForUpdate = static (updated, old, _) => Strategies.CountGeneration(updated, old, updated["spec"].SameAs(old["spec"])),
        Validate = NetworkingValidation.NetworkPolicy,
        Columns = [Columns.Name, Columns.Text("Pod-Selector", "Selects the pods the policy is about."), Columns.Age],
        Row = static (o, now) => [Columns.NameOf(o), Columns.LabelSelector(o.Get("spec", "podSelector")), HumanDuration.Age(o, now)],
    };

    private static void PolicyDefault(JsonObject o)
    {
        JsonObject spec = o.Ensure("spec");
        if (!spec.HasItems("policyTypes"))
        {
            JsonArray types = new("Ingress");
            if (spec.HasItems("egress"))
            {
                types.Add((JsonNode)"Egress");
            }

            spec["policyTypes"] = types;
        }

        foreach (JsonObject port in spec.Items("ingress").Concat(spec.Items("egress")).SelectMany(r => r.Items("ports")))
        {
            port.Default("protocol", "TCP");
        }
    }

    private static string Hosts(JsonElement o)
    {
        string[] hosts = [.. o.Get("spec").Items("rules").Select(r => r.Text("host")).Where(h => h.Length > 0)];
        string shown = string.Join(',', hosts.Take(HostsShown));
        return hosts.Length == 0 ? "*" : hosts.Length > HostsShown ? $"{shown} + {hosts.Length - HostsShown} more..." : shown;
    }

    private static string Addresses(JsonElement o) => string.Join(',', o.Get("status", "loadBalancer").Items("ingress")
        .Select(i => i.Text("ip") is { Length: > 0 } ip ? ip : i.Text("hostname")).Where(t => t.Length > 0).Distinct().Order(StringComparer.Ordinal));

    private static string Parameters(JsonElement parameters) => parameters.ValueKind != JsonValueKind.Object ? Columns.None
        : parameters.Text("kind") + (parameters.Text("apiGroup") is { Length: > 0 } group ? "." + group : "") + "/" + parameters.Text("name");
}

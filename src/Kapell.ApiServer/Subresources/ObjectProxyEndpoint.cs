using System.Globalization;
using System.Text.Json;
using Kapell.ApiServer.Http;
using Kapell.Base;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>nodes/proxy, pods/proxy and services/proxy: a plain HTTP reverse proxy; the name may be <c>scheme:name:port</c>.</summary>
internal sealed class ObjectProxyEndpoint(string resource, KubeletAccess access, ResourceSet resources, ulong seed) : ISubresourceEndpoint
{
    private static readonly string[] Verbs = ["create", "delete", "get", "patch", "update"];

    private readonly Prng _random = new(seed);

    public GroupResource Resource => new("", resource);

    public string Subresource => "proxy";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", resource), resource + "/proxy", "", resource != "nodes",
        new GroupVersionKind("", "v1", resource switch { "nodes" => "NodeProxyOptions", "pods" => "PodProxyOptions", _ => "ServiceProxyOptions" }), Verbs);

    public bool LongRunning(RequestInfo info) => true;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        (string scheme, string name, string port) = Split(info.Name);
        ProxyTarget target = resource switch
        {
            "nodes" => await NodeAsync(name, port, cancel),
            "pods" => await PodAsync(info, scheme, name, port, cancel),
            _ => await ServiceAsync(info, scheme, name, port, cancel),
        };
        await access.Proxy.ForwardAsync(context, target, RestOf(context, info), Resource, info.Name, errorsAsStatus: false, cancel);
    }

    /// <summary>Everything after <c>/proxy</c>, as the client escaped it.</summary>
    private static string RestOf(HttpContext context, RequestInfo info)
    {
        string raw = context.Request.Path.ToUriComponent();
        string marker = "/" + info.Resource + "/" + Uri.EscapeDataString(info.Name).Replace("%3A", ":", StringComparison.OrdinalIgnoreCase) + "/proxy";
        int at = raw.IndexOf(marker, StringComparison.Ordinal);
        string rest = at < 0 ? "/" : raw[(at + marker.Length)..];
        return (rest.StartsWith('/') ? rest : "/" + rest) + context.Request.QueryString.ToUriComponent();
    }

    private static (string Scheme, string Name, string Port) Split(string id)
    {
        string[] parts = id.Split(':');
        return parts.Length switch
        {
            1 => ("http", parts[0], ""),
            2 => ("http", parts[0], parts[1]),
            3 when parts[0] is "http" or "https" or "" => (parts[0].Length == 0 ? "http" : parts[0], parts[1], parts[2]),
            _ => throw new StatusException(Status.BadRequest($"invalid proxy request \"{id}\"")),
        };
    }

    private async Task<ProxyTarget> NodeAsync(string name, string port, CancellationToken cancel)
    {
        ProxyTarget kubelet = await access.KubeletOfAsync(name, cancel);
        return port.Length == 0 || port == kubelet.Port.ToString(CultureInfo.InvariantCulture)
            ? kubelet
            : new ProxyTarget("http", kubelet.Host, Number(port), IsKubelet: false);
    }

    private async Task<ProxyTarget> PodAsync(RequestInfo info, string scheme, string name, string port, CancellationToken cancel)
    {
        KubeObject pod = await access.PodAsync(info with { Name = name }, cancel);
        string address = pod.Status.Text("podIP");
        if (address.Length == 0)
        {
            throw new StatusException(Status.BadRequest("address not allowed"));
        }

        if (port.Length == 0)
        {
            JsonElement first = pod.Spec.Items("containers").SelectMany(c => c.Items("ports")).FirstOrDefault();
            return new ProxyTarget(scheme, address, (int)first.Long("containerPort", scheme == "https" ? 443 : 80), IsKubelet: false);
        }

        return new ProxyTarget(scheme, address, Number(port), IsKubelet: false);
    }

    private async Task<ProxyTarget> ServiceAsync(RequestInfo info, string scheme, string name, string port, CancellationToken cancel)
    {
        KubeObject service = await ReadAsync("services", info.Namespace, name, cancel);
        string portName = port;
        if (service.Spec.Items("ports").FirstOrDefault(p => p.Long("port").ToString(CultureInfo.InvariantCulture) == port) is { ValueKind: JsonValueKind.Object } numbered)
        {
            portName = numbered.Text("name");
        }

        KubeObject endpoints = await ReadAsync("endpoints", info.Namespace, name, cancel);
        List<(string Address, int Port)> all = [];
        foreach (JsonElement subset in endpoints.Root.Items("subsets"))
        {
            foreach (JsonElement candidate in subset.Items("ports").Where(p => portName.Length == 0 || p.Text("name") == portName))
            {
                all.AddRange(subset.Items("addresses").Select(a => (a.Text("ip"), (int)candidate.Long("port"))));
            }
        }

        if (all.Count == 0)
        {
            throw new StatusException(Status.ServiceUnavailable($"no endpoints available for service \"{info.Name}\""));
        }

        lock (_random)
        {
            (string address, int chosen) = all[_random.NextInt(0, all.Count)];
            return new ProxyTarget(scheme, address, chosen, IsKubelet: false);
        }
    }

    private async Task<KubeObject> ReadAsync(string plural, string space, string name, CancellationToken cancel) =>
        (resources.Find("", plural) is { } definition ? await access.Store.GetAsync(definition, new ObjectKey(space, name), cancel) : null)
        ?? throw new StatusException(Status.NotFound(new GroupResource("", plural), name));

    private static int Number(string port) => int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number is > 0 and < 65536
        ? number
        : throw new StatusException(Status.BadRequest($"invalid port \"{port}\""));
}

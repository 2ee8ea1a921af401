using System.Globalization;
using System.Text;
using Kapell.ApiServer.Authorization;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>What the endpoints that talk to kubelets need.</summary>
internal sealed record KubeletAccess(IObjectStore Store, ResourceDefinition Pods, ResourceDefinition Nodes, KubeletTransport Transport, ProxyRequest Proxy)
{
    public async Task<KubeObject> PodAsync(RequestInfo info, CancellationToken cancel) =>
        await Store.GetAsync(Pods, new ObjectKey(info.Namespace, info.Name), cancel)
        ?? throw new StatusException(Status.NotFound(Pods.GroupResource, info.Name));

    public async Task<ProxyTarget> KubeletOfAsync(string node, CancellationToken cancel)
    {
        KubeObject found = await Store.GetAsync(Nodes, new ObjectKey("", node), cancel)
            ?? throw new StatusException(Status.NotFound(Nodes.GroupResource, node));
        return Transport.TargetOf(found);
    }
}

/// <summary>Container names in upstream's words (pkg/registry/core/pod/strategy.go).</summary>
internal static class PodContainers
{
    public static string Choose(KubeObject pod, string wanted)
    {
        string[] containers = Names(pod, "containers");
        if (wanted.Length > 0)
        {
            return containers.Concat(Names(pod, "initContainers")).Concat(Names(pod, "ephemeralContainers")).Contains(wanted)
                ? wanted
                : throw new StatusException(Status.BadRequest($"container {wanted} is not valid for pod {pod.Name}"));
        }

        if (containers.Length == 1)
        {
            return containers[0];
        }

        if (containers.Length == 0)
        {
            throw new StatusException(Status.BadRequest($"a container name must be specified for pod {pod.Name}"));
        }

        string text = $"a container name must be specified for pod {pod.Name}, choose one of: [{string.Join(' ', containers)}]";
        string[] init = Names(pod, "initContainers");
        string[] ephemeral = Names(pod, "ephemeralContainers");
        text += init.Length > 0 ? $" or one of the init containers: [{string.Join(' ', init)}]" : "";
        text += ephemeral.Length > 0 ? $" or one of the ephemeral containers: [{string.Join(' ', ephemeral)}]" : "";
        throw new StatusException(Status.BadRequest(text));
    }

    public static void DemandHost(KubeObject pod)
    {
        if (pod.Spec.Text("nodeName").Length == 0)
        {
            throw new StatusException(Status.BadRequest($"pod {pod.Name} does not have a host assigned"));
        }
    }

    private static string[] Names(KubeObject pod, string list) => [.. pod.Spec.Items(list).Select(c => c.Text("name"))];
}

/// <summary>pods/log: the kubelet's log, streamed.</summary>
internal sealed class PodLogEndpoint(KubeletAccess access) : ISubresourceEndpoint
{
    private static readonly string[] BoolOptions = ["follow", "previous", "timestamps"];
    private static readonly string[] NumberOptions = ["sinceSeconds", "tailLines", "limitBytes"];

    public GroupResource Resource => new("", "pods");

    public string Subresource => "log";

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", "pods"), "pods/log", "", true, new GroupVersionKind("", "v1", "Pod"), ["get"]);

    public bool LongRunning(RequestInfo info) => true;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (context.Request.Method is not "GET")
        {
            throw new StatusException(Status.MethodNotSupported(Resource, info.Verb));
        }

        IQueryCollection query = context.Request.Query;
        string options = Options(query, info.Name);
        KubeObject pod = await access.PodAsync(info, cancel);
        string container = PodContainers.Choose(pod, query["container"].ToString());
        string node = pod.Spec.Text("nodeName");
        if (node.Length == 0)
        {
            // Not yet on a node: an empty log (upstream: LogLocation returns no location).
            context.Response.ContentType = "text/plain";
            return;
        }

        ProxyTarget target = await access.KubeletOfAsync(node, cancel);
        string path = $"/containerLogs/{pod.Namespace}/{pod.Name}/{container}{options}";
        await access.Proxy.ForwardAsync(context, target, path, new GroupResource("", "pods/log"), info.Name, errorsAsStatus: true, cancel);
    }

    private static string Options(IQueryCollection query, string name)
    {
        List<string> parts = [];
        List<FieldError> errors = [];
        foreach (string option in BoolOptions.Where(o => query.ContainsKey(o) && RequestInfo.IsTrue(query[o])))
        {
            parts.Add(option + "=true");
        }

        foreach (string option in NumberOptions.Where(o => query[o].ToString().Length > 0))
        {
            string text = query[option].ToString();
            if (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number))
            {
                throw new StatusException(Status.BadRequest($"strconv.ParseInt: parsing {GoText.Quote(text)}: invalid syntax"));
            }

            bool fromZero = option == "tailLines";
            if (number < (fromZero ? 0 : 1))
            {
                errors.Add(FieldError.Invalid(FieldPath.New(option), number, fromZero ? "must be greater than or equal to 0" : "must be greater than 0"));
            }

            parts.Add(option + "=" + number.ToString(CultureInfo.InvariantCulture));
        }

        if (query["sinceTime"].ToString() is { Length: > 0 } since)
        {
            if (query.ContainsKey("sinceSeconds"))
            {
                errors.Add(FieldError.Forbidden(FieldPath.Root, "at most one of `sinceTime` or `sinceSeconds` may be specified"));
            }

            parts.Add("sinceTime=" + Uri.EscapeDataString(since));
        }

        if (query["stream"].ToString() is { Length: > 0 } stream)
        {
            parts.Add("stream=" + Uri.EscapeDataString(stream));
        }

        if (errors.Count > 0)
        {
            throw new StatusException(Status.Invalid(new GroupKind("", "PodLogOptions"), name, errors));
        }

        return parts.Count == 0 ? "" : "?" + string.Join('&', parts);
    }
}

/// <summary>pods/exec, pods/attach and pods/portforward: a byte tunnel between the client and the kubelet.</summary>
internal sealed class PodTunnelEndpoint(string subresource, string kind, KubeletAccess access, IAccessRule rules) : ISubresourceEndpoint
{
    public GroupResource Resource => new("", "pods");

    public string Subresource => subresource;

    public EndpointDiscovery Discovery => new(
        new GroupVersionResource("", "v1", "pods"), "pods/" + subresource, "", true, new GroupVersionKind("", "v1", kind), ["create", "get"]);

    public bool LongRunning(RequestInfo info) => true;

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        if (context.Request.Method is not ("GET" or "POST"))
        {
            throw new StatusException(Status.MethodNotSupported(Resource, info.Verb));
        }

        DemandCreate(info, user);
        if (context.Request.Headers.Upgrade.Count == 0)
        {
            throw new StatusException(Status.BadRequest("Upgrade request required"));
        }

        KubeObject pod = await access.PodAsync(info, cancel);
        string path = subresource == "portforward" ? ForwardPath(context.Request.Query, pod) : StreamPath(context.Request.Query, pod);
        ProxyTarget target = await access.KubeletOfAsync(pod.Spec.Text("nodeName"), cancel);
        await access.Proxy.ForwardAsync(context, target, path, new GroupResource("", "pods/" + subresource), info.Name, errorsAsStatus: true, cancel);
    }

    /// <summary>A WebSocket begins with GET, yet it does what POST does (upstream: AuthorizePodWebsocketUpgradeCreatePermission).</summary>
    private void DemandCreate(RequestInfo info, UserInfo user)
    {
        AuthorizationAttributes wanted = AuthorizationAttributes.Of(user, info) with { Verb = "create" };
        if (info.Verb != "create" && !rules.Decide(wanted).Allowed)
        {
            throw new StatusException(Status.Forbidden(Resource, info.Name, wanted.Denial()));
        }
    }

    private static string ForwardPath(IQueryCollection query, KubeObject pod)
    {
        PodContainers.DemandHost(pod);
        IEnumerable<string> ports = query["ports"].Concat(query["port"]).OfType<string>().SelectMany(p => p.Split(',')).Where(p => p.Length > 0);
        string text = string.Join('&', ports.Select(p => "port=" + Uri.EscapeDataString(p)));
        return $"/portForward/{pod.Namespace}/{pod.Name}{(text.Length > 0 ? "?" + text : "")}";
    }

    private string StreamPath(IQueryCollection query, KubeObject pod)
    {
        string container = PodContainers.Choose(pod, query["container"].ToString());
        PodContainers.DemandHost(pod);
        bool isExec = subresource == "exec";
        StringBuilder text = new();
        Add(text, "input", Flag(query, "stdin", absent: false));
        Add(text, "output", Flag(query, "stdout", absent: !isExec));
        Add(text, "error", Flag(query, "stderr", absent: !isExec));
        Add(text, "tty", Flag(query, "tty", absent: false));
        foreach (string? word in isExec ? query["command"] : default)
        {
            text.Append(text.Length == 0 ? '?' : '&').Append("command=").Append(Uri.EscapeDataString(word ?? ""));
        }

        return $"/{subresource}/{pod.Namespace}/{pod.Name}/{container}{text}";
    }

    private static bool Flag(IQueryCollection query, string name, bool absent) => query.ContainsKey(name) ? RequestInfo.IsTrue(query[name]) : absent;

    private static void Add(StringBuilder text, string name, bool on)
    {
        if (on)
        {
            text.Append(text.Length == 0 ? '?' : '&').Append(name).Append("=1");
        }
    }
}

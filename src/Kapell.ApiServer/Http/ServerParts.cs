using System.Diagnostics.CodeAnalysis;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Kapell.ApiServer.Http;

/// <summary>How a resource that is only an endpoint (no stored object) or an endpoint subresource appears in discovery.</summary>
/// <param name="Name">The subresource's or resource's plural name: <c>pods/log</c>, <c>selfsubjectaccessreviews</c>.</param>
public sealed record EndpointDiscovery(
    GroupVersionResource Resource, string Name, string Singular, bool Namespaced, GroupVersionKind Kind, IReadOnlyList<string> Verbs);

/// <summary>
/// Serves one subresource that is more than a part of its stored object (pods/log, pods/binding, serviceaccounts/token), or, with
/// an empty subresource, a resource that is not stored (selfsubjectaccessreviews). Called after authentication and authorization;
/// answers the <see cref="HttpContext"/> itself. A <see cref="StatusException"/> becomes the answer if nothing was sent yet.
/// </summary>
public interface ISubresourceEndpoint
{
    /// <summary>Group and plural resource it belongs to; any version.</summary>
    GroupResource Resource { get; }

    /// <summary>Empty for a resource of its own.</summary>
    string Subresource { get; }

    EndpointDiscovery Discovery { get; }

    /// <summary>Streams for as long as it likes: neither the request timeout nor the in-flight limits hold (log -f, exec, attach, portforward, proxy).</summary>
    bool LongRunning(RequestInfo info);

    Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel);
}

/// <summary>Serves a path outside /api and /apis (openapi documents, openid configuration), after authentication and authorization.</summary>
public interface IPathEndpoint
{
    /// <summary>An exact path (<c>/openapi/v2</c>), or a prefix when it ends in <c>/</c>.</summary>
    string Path { get; }

    Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel);
}

/// <summary>What the parts are built from.</summary>
public sealed record ServerContext
{
    public required ServerOptions Options { get; init; }

    public required IObjectStore Store { get; init; }

    public required ResourceSet Resources { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>Seeds a <see cref="Base.Prng"/> per component; not for secrets.</summary>
    public required ulong Seed { get; init; }

    public required ILoggerFactory Logs { get; init; }
}

/// <summary>The exchangeable parts of one server, collected before it starts (see <see cref="ServerComposition"/>).</summary>
public sealed class ServerParts
{
    public List<IAuthenticator> Authenticators { get; } = [];

    public List<IAuthorizer> Authorizers { get; } = [];

    /// <summary>In the order of upstream's plugin list.</summary>
    public List<IAdmission> Admission { get; } = [];

    public List<ISubresourceEndpoint> Subresources { get; } = [];

    public List<IPathEndpoint> Paths { get; } = [];

    /// <summary>Run once after the store is reachable and the bootstrap namespaces exist, before readyz turns ok; retried until it returns (bootstrap RBAC).</summary>
    public List<(string Name, Func<CancellationToken, Task> Run)> PostStartHooks { get; } = [];

    /// <summary>Run for the server's life; one that throws is logged and started again.</summary>
    public List<(string Name, Func<CancellationToken, Task> Run)> Background { get; } = [];
}

/// <summary>All resources of one server, by group and plural name and by kind.</summary>
public sealed class ResourceSet
{
    private readonly Dictionary<GroupVersionResource, ResourceDefinition> _byResource = [];
    private readonly Dictionary<GroupVersionKind, ResourceDefinition> _byKind = [];

    public ResourceSet(IReadOnlyList<ResourceDefinition> all)
    {
        All = all;
        foreach (ResourceDefinition definition in all)
        {
            _byResource.Add(definition.GroupVersionResource, definition);
            _byKind.TryAdd(definition.GroupVersionKind, definition);
        }
    }

    public IReadOnlyList<ResourceDefinition> All { get; }

    public bool TryGet(GroupVersionResource resource, [NotNullWhen(true)] out ResourceDefinition? definition) =>
        _byResource.TryGetValue(resource, out definition);

    public bool TryGet(GroupVersionKind kind, [NotNullWhen(true)] out ResourceDefinition? definition) => _byKind.TryGetValue(kind, out definition);

    /// <summary>Any version of it: the first in discovery order.</summary>
    public ResourceDefinition? Find(string group, string plural) => All.FirstOrDefault(d => d.Group == group && d.Plural == plural);
}

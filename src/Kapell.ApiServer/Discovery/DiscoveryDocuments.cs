using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Discovery;

/// <summary>What the server serves: /api, /apis and below, each also as one aggregated document (KEP-3352).</summary>
internal sealed class DiscoveryDocuments
{
    // upstream's group priorities (controlplane/apiserver/aggregator.go), highest first; others follow by name.
    private static readonly string[] GroupOrder =
    [
        "", "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
        "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io", "admissionregistration.k8s.io",
        "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io", "discovery.k8s.io", "resource.k8s.io", "flowcontrol.apiserver.k8s.io",
    ];

    private readonly List<(string Group, List<string> Versions)> _groups = [];
    private readonly Dictionary<(string Group, string Version), List<Entry>> _resources = [];

    public DiscoveryDocuments(ResourceSet resources, IReadOnlyList<ISubresourceEndpoint> endpoints)
    {
        HashSet<(GroupResource, string)> served = [.. endpoints.Select(e => (e.Resource, e.Subresource))];
        foreach (ResourceDefinition d in resources.All)
        {
            List<Entry> list = ListOf(d.Group, d.Version);
            list.Add(new Entry(d.Plural, d.Singular, d.Namespaced, d.GroupVersionKind, d.Verbs, d.ShortNames, d.Categories));
            foreach (SubresourceDefinition sub in d.Subresources)
            {
                if (sub.PrepareForUpdate is not null || sub.View is not null || served.Contains((d.GroupResource, sub.Name)))
                {
                    list.Add(new Entry(d.Plural + "/" + sub.Name, "", d.Namespaced, sub.Kind, sub.Verbs, [], []));
                }
            }
        }

        foreach (ISubresourceEndpoint endpoint in endpoints)
        {
            EndpointDiscovery e = endpoint.Discovery;
            List<Entry> list = ListOf(e.Resource.Group, e.Resource.Version);
            if (list.All(x => x.Name != e.Name))
            {
                list.Add(new Entry(e.Name, e.Singular, e.Namespaced, e.Kind, e.Verbs, [], []));
            }
        }

        foreach (List<Entry> list in _resources.Values)
        {
            list.Sort((x, y) => string.CompareOrdinal(x.Name, y.Name));
        }

        _groups.Sort((x, y) => Rank(x.Group) != Rank(y.Group) ? Rank(x.Group).CompareTo(Rank(y.Group)) : string.CompareOrdinal(x.Group, y.Group));
    }

    public async Task<bool> TryHandleAsync(HttpContext context, RequestInfo info, CancellationToken cancel)
    {
        if (context.Request.Method is not ("GET" or "HEAD"))
        {
            return false;
        }

        string[] parts = info.Path.Trim('/').Split('/');
        bool root = parts.Length == 1 && parts[0] is "api" or "apis";
        OutputFormat? format = parts[0] is "api" or "apis" || info.Path == "/"
            ? OutputFormat.Negotiate(context.Request, (t, v) => root && t == Transform.Discovery && v is "v2" or "v2beta1") : null;
        JsonObject? document = parts switch
        {
            [""] => RootPaths(),
            ["api"] when format!.Transform == Transform.Discovery => Aggregated(true, format.Version),
            ["apis"] when format!.Transform == Transform.Discovery => Aggregated(false, format.Version),
            ["api"] => ApiVersions(context),
            ["apis"] => GroupList(),
            ["api", var version] => ResourceList("", version),
            ["apis", var group] => _groups.FirstOrDefault(g => g.Group == group && group.Length > 0) is { Group: not null } found ? GroupOf(found, top: true) : null,
            ["apis", var group, var version] => group.Length == 0 ? null : ResourceList(group, version),
            _ => null,
        };
        if (document is null || format is null)
        {
            return false;
        }

        if (root)
        {
            context.Response.Headers.Vary = "Accept";
        }

        if (format.Transform == Transform.Discovery)
        {
            byte[] body = JsonBytes.Of(document);
            string etag = "\"" + Convert.ToHexString(System.Security.Cryptography.SHA512.HashData(body)) + "\"";
            context.Response.Headers.ETag = etag;
            if (context.Request.Headers.IfNoneMatch.Contains(etag))
            {
                context.Response.StatusCode = 304;
                return true;
            }

            string type = $"application/json;g=apidiscovery.k8s.io;v={format.Version};as=APIGroupDiscoveryList";
            await Responses.WriteBytesAsync(context, 200, type, body, newline: false, cancel);
            return true;
        }

        await Responses.WriteAsync(context, 200, document, format, cancel);
        return true;
    }

    private static int Rank(string group)
    {
        int at = Array.IndexOf(GroupOrder, group);
        return at < 0 ? GroupOrder.Length : at;
    }

    private List<Entry> ListOf(string group, string version)
    {
        if (_resources.TryGetValue((group, version), out List<Entry>? list))
        {
            return list;
        }

        int at = _groups.FindIndex(g => g.Group == group);
        if (at < 0)
        {
            _groups.Add((group, []));
            at = _groups.Count - 1;
        }

        _groups[at].Versions.Add(version);
        _groups[at].Versions.Sort(CompareVersions);
        return _resources[(group, version)] = [];
    }

    // apimachinery: version.CompareKubeAwareVersionStrings, newest and most stable first.
    private static int CompareVersions(string x, string y)
    {
        (int Stage, int Major, int Minor) a = Parse(x);
        (int Stage, int Major, int Minor) b = Parse(y);
        return b.CompareTo(a);

        static (int Stage, int Major, int Minor) Parse(string version)
        {
            int letters = version.IndexOfAny(['a', 'b'], 1);
            int stage = letters < 0 ? 2 : version[letters] == 'b' ? 1 : 0;
            _ = int.TryParse(letters < 0 ? version[1..] : version[1..letters], out int major);
            _ = int.TryParse(letters < 0 ? "0" : version[letters..].TrimStart("alphabet".ToCharArray()), out int minor);
            return (stage, major, minor);
        }
    }

    private JsonObject RootPaths()
    {
        List<string> paths = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
        foreach ((string group, List<string> versions) in _groups.Where(g => g.Group.Length > 0))
        {
            paths.Add("/apis/" + group);
            paths.AddRange(versions.Select(v => "/apis/" + group + "/" + v));
        }

        paths.Sort(StringComparer.Ordinal);
        return new JsonObject { ["paths"] = Texts(paths) };
    }

    private static JsonObject ApiVersions(HttpContext context) => new()
    {
        ["kind"] = "APIVersions",
        ["versions"] = new JsonArray("v1"),
        ["serverAddressByClientCIDRs"] = new JsonArray((JsonNode)new JsonObject
        {
            ["clientCIDR"] = "0.0.0.0/0", ["serverAddress"] = context.Request.Host.Value,
        }),
    };

    private JsonObject GroupList()
    {
        JsonArray groups = [];
        foreach ((string Group, List<string> Versions) group in _groups.Where(g => g.Group.Length > 0))
        {
            groups.Add((JsonNode)GroupOf(group, top: false));
        }

        return new JsonObject { ["kind"] = "APIGroupList", ["apiVersion"] = "v1", ["groups"] = groups };
    }

    private static JsonObject GroupOf((string Group, List<string> Versions) group, bool top)
    {
        JsonArray versions = [];
        foreach (string version in group.Versions)
        {
            versions.Add((JsonNode)VersionOf(group.Group, version));
        }

        JsonObject json = top ? new JsonObject { ["kind"] = "APIGroup", ["apiVersion"] = "v1" } : [];
        json["name"] = group.Group;
        json["versions"] = versions;
        json["preferredVersion"] = VersionOf(group.Group, group.Versions[0]);
        return json;
    }

    private static JsonObject VersionOf(string group, string version) => new() { ["groupVersion"] = group + "/" + version, ["version"] = version };

    private JsonObject? ResourceList(string group, string version)
    {
        if (!_resources.TryGetValue((group, version), out List<Entry>? list))
        {
            return null;
        }

        JsonArray resources = [];
        foreach (Entry e in list)
        {
            JsonObject json = new() { ["name"] = e.Name, ["singularName"] = e.Singular, ["namespaced"] = e.Namespaced };
            if (e.Kind.Group != group || e.Kind.Version != version)
            {
                json["group"] = e.Kind.Group;
                json["version"] = e.Kind.Version;
            }

            json["kind"] = e.Kind.Kind;
            json["verbs"] = Texts(e.Verbs);
            AddTexts(json, "shortNames", e.ShortNames);
            AddTexts(json, "categories", e.Categories);
            resources.Add((JsonNode)json);
        }

        return new JsonObject
        {
            ["kind"] = "APIResourceList", ["apiVersion"] = "v1", ["groupVersion"] = group.Length == 0 ? version : group + "/" + version, ["resources"] = resources,
        };
    }

    private JsonObject Aggregated(bool core, string form)
    {
        JsonArray items = [];
        foreach ((string group, List<string> versions) in _groups.Where(g => g.Group.Length == 0 == core))
        {
            JsonArray list = [];
            foreach (string version in versions)
            {
                list.Add((JsonNode)new JsonObject { ["version"] = version, ["resources"] = AggregatedResources(_resources[(group, version)]), ["freshness"] = "Current" });
            }

            JsonObject metadata = new() { ["creationTimestamp"] = null };
            if (group.Length > 0)
            {
                metadata["name"] = group;
            }

            items.Add((JsonNode)new JsonObject { ["metadata"] = metadata, ["versions"] = list });
        }

        return new JsonObject
        {
            ["kind"] = "APIGroupDiscoveryList", ["apiVersion"] = "apidiscovery.k8s.io/" + form, ["metadata"] = new JsonObject(), ["items"] = items,
        };
    }

    private static JsonArray AggregatedResources(List<Entry> entries)
    {
        JsonArray list = [];
        foreach (Entry e in entries.Where(e => !e.Name.Contains('/', StringComparison.Ordinal)))
        {
            JsonObject json = new()
            {
                ["resource"] = e.Name, ["responseKind"] = KindOf(e.Kind), ["scope"] = e.Namespaced ? "Namespaced" : "Cluster",
                ["singularResource"] = e.Singular, ["verbs"] = Texts(e.Verbs),
            };
            AddTexts(json, "shortNames", e.ShortNames);
            AddTexts(json, "categories", e.Categories);
            JsonArray subresources = [];
            foreach (Entry sub in entries.Where(s => s.Name.StartsWith(e.Name + "/", StringComparison.Ordinal)))
            {
                subresources.Add((JsonNode)new JsonObject
                {
                    ["subresource"] = sub.Name[(e.Name.Length + 1)..], ["responseKind"] = KindOf(sub.Kind), ["verbs"] = Texts(sub.Verbs),
                });
            }

            if (subresources.Count > 0)
            {
                json["subresources"] = subresources;
            }

            list.Add((JsonNode)json);
        }

        return list;
    }

    private static JsonObject KindOf(GroupVersionKind kind) => new() { ["group"] = kind.Group, ["version"] = kind.Version, ["kind"] = kind.Kind };

    private static JsonArray Texts(IReadOnlyList<string> texts) => [.. texts.Select(t => (JsonNode)JsonValue.Create(t))];

    private static void AddTexts(JsonObject json, string name, IReadOnlyList<string> texts)
    {
        if (texts.Count > 0)
        {
            json[name] = Texts(texts);
        }
    }

    private sealed record Entry(
        string Name, string Singular, bool Namespaced, GroupVersionKind Kind, IReadOnlyList<string> Verbs, IReadOnlyList<string> ShortNames,
        IReadOnlyList<string> Categories);
}

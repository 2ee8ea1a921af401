using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;

namespace Kapell.ApiServer.Authorization;

/// <summary>One rule of a Role or ClusterRole. Matching as upstream: pkg/apis/rbac/v1/evaluation_helpers.go.</summary>
public sealed record PolicyRule
{
    public IReadOnlyList<string> Verbs { get; init; } = [];

    public IReadOnlyList<string> ApiGroups { get; init; } = [];

    public IReadOnlyList<string> Resources { get; init; } = [];

    public IReadOnlyList<string> ResourceNames { get; init; } = [];

    public IReadOnlyList<string> NonResourceUrls { get; init; } = [];

    public static PolicyRule From(JsonElement json) => new()
    {
        Verbs = Texts(json, "verbs"),
        ApiGroups = Texts(json, "apiGroups"),
        Resources = Texts(json, "resources"),
        ResourceNames = Texts(json, "resourceNames"),
        NonResourceUrls = Texts(json, "nonResourceURLs"),
    };

    public static List<PolicyRule> ListFrom(JsonElement holder) => [.. holder.Items("rules").Select(From)];

    public JsonObject ToJson()
    {
        JsonObject json = [];
        Add(json, "verbs", Verbs, always: true);
        Add(json, "apiGroups", ApiGroups);
        Add(json, "resources", Resources);
        Add(json, "resourceNames", ResourceNames);
        Add(json, "nonResourceURLs", NonResourceUrls);
        return json;
    }

    public bool Allows(AuthorizationAttributes request)
    {
        if (!Has(Verbs, "*") && !Has(Verbs, request.Verb))
        {
            return false;
        }

        if (!request.IsResourceRequest)
        {
            return MatchesPath(request.Path);
        }

        return (Has(ApiGroups, "*") || Has(ApiGroups, request.Group))
            && MatchesResource(request)
            && (ResourceNames.Count == 0 || Has(ResourceNames, request.Name));
    }

    /// <summary>Whether everything in <paramref name="sub"/> (one verb, group, resource, name or path) is granted by this rule.</summary>
    public bool Covers(PolicyRule sub)
    {
        bool names = ResourceNames.Count == 0 || (sub.ResourceNames.Count > 0 && sub.ResourceNames.All(n => Has(ResourceNames, n)));
        return (Has(Verbs, "*") || sub.Verbs.All(v => Has(Verbs, v)))
            && (Has(ApiGroups, "*") || sub.ApiGroups.All(g => Has(ApiGroups, g)))
            && sub.Resources.All(CoversResource)
            && sub.NonResourceUrls.All(MatchesPath)
            && names;
    }

    /// <summary>The text upstream names a rule with in refusals (CompactString).</summary>
    public string CompactText
    {
        get
        {
            List<string> parts = [];
            AddPart(parts, "APIGroups", ApiGroups);
            AddPart(parts, "Resources", Resources);
            AddPart(parts, "NonResourceURLs", NonResourceUrls);
            AddPart(parts, "ResourceNames", ResourceNames);
            AddPart(parts, "Verbs", Verbs);
            return "{" + string.Join(", ", parts) + "}";
        }
    }

    /// <summary>Splits into rules of one verb and one target each, the grain at which rights are compared.</summary>
    public IEnumerable<PolicyRule> BreakDown()
    {
        foreach (string verb in Verbs)
        {
            foreach (string group in ApiGroups)
            {
                foreach (string resource in Resources)
                {
                    if (ResourceNames.Count == 0)
                    {
                        yield return new PolicyRule { Verbs = [verb], ApiGroups = [group], Resources = [resource] };
                    }

                    foreach (string name in ResourceNames)
                    {
                        yield return new PolicyRule { Verbs = [verb], ApiGroups = [group], Resources = [resource], ResourceNames = [name] };
                    }
                }
            }

            foreach (string url in NonResourceUrls)
            {
                yield return new PolicyRule { Verbs = [verb], NonResourceUrls = [url] };
            }
        }
    }

    private bool MatchesResource(AuthorizationAttributes request)
    {
        string combined = request.CombinedResource();
        foreach (string resource in Resources)
        {
            if (resource == "*" || resource == combined)
            {
                return true;
            }

            if (request.Subresource.Length > 0 && resource.Length == request.Subresource.Length + 2
                && resource.StartsWith("*/", StringComparison.Ordinal) && resource.EndsWith(request.Subresource, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    private bool CoversResource(string sub)
    {
        if (Has(Resources, "*") || Has(Resources, sub))
        {
            return true;
        }

        int slash = sub.IndexOf('/', StringComparison.Ordinal);
        return slash >= 0 && Has(Resources, "*" + sub[slash..]);
    }

    private bool MatchesPath(string path)
    {
        foreach (string url in NonResourceUrls)
        {
            if (url == "*" || url == path
                || (url.EndsWith('*') && path.StartsWith(url.TrimEnd('*'), StringComparison.Ordinal)))
            {
                return true;
            }
        }

        return false;
    }

    private static bool Has(IReadOnlyList<string> list, string value)
    {
        for (int i = 0; i < list.Count; i++)
        {
            if (list[i] == value)
            {
                return true;
            }
        }

        return false;
    }

    private static string[] Texts(JsonElement json, string name) =>
        [.. json.Items(name).Where(e => e.ValueKind == JsonValueKind.String).Select(e => e.GetString()!)];

    private static void Add(JsonObject json, string name, IReadOnlyList<string> values, bool always = false)
    {
        if (values.Count > 0 || always)
        {
            json[name] = new JsonArray([.. values.Select(v => (JsonNode)v)]);
        }
    }

    private static void AddPart(List<string> parts, string name, IReadOnlyList<string> values)
    {
        if (values.Count > 0)
        {
            parts.Add(name + ":" + GoText.QuoteList(values));
        }
    }
}

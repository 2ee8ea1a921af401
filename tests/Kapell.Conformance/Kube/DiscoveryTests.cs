using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>What the server says of itself.</summary>
public abstract class DiscoveryTests(ClusterFixture cluster)
{
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task Groups_and_versions_are_listed()
    {
        Answer core = (await _api.Get("/api")).Is(200);
        Assert.Equal(("APIVersions", "v1"), (core["kind"], core["versions.0"]));
        Answer groups = (await _api.Get("/apis")).Is(200);
        Assert.Equal("APIGroupList", groups["kind"]);
        string[] names = [.. ((JsonArray)groups.At("groups")!).Select(g => g!["name"]!.ToString())];
        Assert.Superset(new HashSet<string>(["apps", "batch", "rbac.authorization.k8s.io", "policy", "coordination.k8s.io", "discovery.k8s.io",
            "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "scheduling.k8s.io", "node.k8s.io"]), new HashSet<string>(names));
        Answer apps = (await _api.Get("/apis/apps")).Is(200);
        Assert.Equal(("APIGroup", "apps/v1"), (apps["kind"], apps["preferredVersion.groupVersion"]));
    }

    [Fact]
    public async Task Resources_have_upstreams_names_and_verbs()
    {
        Answer list = (await _api.Get("/api/v1")).Is(200);
        Assert.Equal("APIResourceList", list["kind"]);
        Dictionary<string, JsonNode> byName = ((JsonArray)list.At("resources")!).ToDictionary(r => r!["name"]!.ToString(), r => r!);
        JsonNode pods = byName["pods"];
        Assert.Equal(("Pod", "pod", "True"), (pods["kind"]!.ToString(), pods["singularName"]!.ToString(), ((bool)pods["namespaced"]!).ToString()));
        Assert.Equal("""["create","delete","deletecollection","get","list","patch","update","watch"]""", pods["verbs"]!.ToJsonString());
        Assert.Equal("""["po"]""", pods["shortNames"]!.ToJsonString());
        Assert.Equal("""["all"]""", pods["categories"]!.ToJsonString());
        foreach (string name in (string[])["pods/status", "pods/log", "pods/exec", "pods/attach", "pods/portforward", "pods/binding", "pods/eviction",
            "namespaces/finalize", "namespaces/status", "nodes/proxy", "serviceaccounts/token", "services/proxy", "bindings"])
        {
            Assert.True(byName.ContainsKey(name), name);
        }

        Assert.Equal(("Scale", "autoscaling"), await Scale());
    }

    [Fact]
    public async Task Aggregated_discovery_says_all_at_once()
    {
        const string Accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        Answer groups = (await _api.Get("/apis", Accept)).Is(200);
        Assert.Equal(("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"), (groups["kind"], groups["apiVersion"]));
        Assert.Contains("as=APIGroupDiscoveryList", groups.Headers["Content-Type"].Single(), StringComparison.Ordinal);
        JsonNode apps = ((JsonArray)groups.At("items")!).Single(g => g!["metadata"]!["name"]!.ToString() == "apps")!;
        JsonNode deployments = ((JsonArray)Answer.At(apps, "versions.0.resources")!).Single(r => r!["resource"]!.ToString() == "deployments")!;
        Assert.Equal(("Deployment", "Namespaced", "deployment"),
            (deployments["responseKind"]!["kind"]!.ToString(), deployments["scope"]!.ToString(), deployments["singularResource"]!.ToString()));
        Assert.Equal(["scale", "status"], ((JsonArray)deployments["subresources"]!).Select(s => s!["subresource"]!.ToString()).Order());
        Answer core = (await _api.Get("/api", Accept)).Is(200);
        Assert.Equal("APIGroupDiscoveryList", core["kind"]);
        Assert.True(core.Headers.ContainsKey("ETag"));
        Answer cached = await _api.Send("GET", "/api", null, accept: Accept, headers: ("If-None-Match", core.Headers["ETag"].Single()));
        Assert.Equal(304, cached.Code);
    }

    [Fact]
    public async Task OpenApi_describes_the_kinds()
    {
        Answer v2 = (await _api.Get("/openapi/v2")).Is(200);
        Assert.Equal("2.0", v2["swagger"]);
        Assert.NotNull(v2.Json["definitions"]!["io.k8s.api.core.v1.Pod"]);
        Answer v3 = (await _api.Get("/openapi/v3")).Is(200);
        string url = v3.Json["paths"]!["apis/apps/v1"]!["serverRelativeURL"]!.ToString();
        Answer apps = (await _api.Get(url)).Is(200);
        Assert.StartsWith("3.", apps["openapi"], StringComparison.Ordinal);
        JsonNode deployment = apps.Json["components"]!["schemas"]!["io.k8s.api.apps.v1.Deployment"]!;
        Assert.Equal("Deployment", Answer.At(deployment, "x-kubernetes-group-version-kind.0.kind")!.ToString());
        Assert.NotNull(apps.Json["paths"]!["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]!["patch"]);
    }

    [Fact]
    public async Task Health_version_and_metrics()
    {
        foreach (string path in (string[])["/healthz", "/livez", "/readyz", "/livez/ping", "/readyz/etcd"])
        {
            Assert.Equal("ok", (await _api.Get(path, "*/*")).Is(200).Body);
        }

        string verbose = (await _api.Get("/readyz?verbose", "*/*")).Is(200).Body;
        Assert.Contains("[+]ping ok\n", verbose, StringComparison.Ordinal);
        Assert.Contains("[+]etcd ok\n", verbose, StringComparison.Ordinal);
        Assert.EndsWith("readyz check passed\n", verbose, StringComparison.Ordinal);
        Assert.Contains("[+]etcd excluded: ok\n", (await _api.Get("/readyz?verbose&exclude=etcd", "*/*")).Is(200).Body, StringComparison.Ordinal);
        Answer version = (await _api.Get("/version")).Is(200);
        Assert.Equal("1", version["major"]);
        Assert.Matches("^v1\\.[0-9]+\\.[0-9]+", version["gitVersion"]);
        Answer metrics = (await _api.Get("/metrics", "*/*")).Is(200);
        Assert.Contains("# TYPE apiserver_request_total counter", metrics.Body, StringComparison.Ordinal);
        Assert.Contains("apiserver_request_duration_seconds_bucket", metrics.Body, StringComparison.Ordinal);
    }

    private async Task<(string, string)> Scale()
    {
        Answer apps = (await _api.Get("/apis/apps/v1")).Is(200);
        JsonNode scale = ((JsonArray)apps.At("resources")!).Single(r => r!["name"]!.ToString() == "deployments/scale")!;
        return (scale["kind"]!.ToString(), scale["group"]!.ToString());
    }
}

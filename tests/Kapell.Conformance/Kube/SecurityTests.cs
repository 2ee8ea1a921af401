using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>Who may do what, and what is said to those who may not.</summary>
public abstract class SecurityTests(ClusterFixture cluster)
{
    [Fact]
    public async Task Without_credentials_only_health_and_version_are_served()
    {
        foreach (string path in (string[])["/healthz", "/livez", "/readyz", "/version"])
        {
            (await cluster.Anonymous.Get(path)).Is(200);
        }

        (await cluster.Anonymous.Get("/api/v1/namespaces/default/pods")).Fails(403, "Forbidden",
            "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"").About("pods", "", "");
        (await cluster.Anonymous.Get("/metrics")).Fails(403, "Forbidden", "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
        (await cluster.Anonymous.Send("GET", "/api", null, headers: ("Authorization", "Bearer nonsense"))).Fails(401, "Unauthorized", "Unauthorized");
    }

    [Fact]
    public async Task Rbac_refuses_in_upstreams_words()
    {
        (await cluster.Alice.Get("/api/v1/namespaces/default/pods/a")).Fails(403, "Forbidden",
            "pods \"a\" is forbidden: User \"alice\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\"").About("pods", "", "a");
        (await cluster.Alice.Get("/apis/apps/v1/deployments")).Fails(403, "Forbidden",
            "deployments.apps is forbidden: User \"alice\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope").About("deployments", "apps", "");
        (await cluster.Alice.Post("/api/v1/namespaces/default/pods/a/eviction", "{}")).Fails(403, "Forbidden",
            "pods \"a\" is forbidden: User \"alice\" cannot create resource \"pods/eviction\" in API group \"\" in the namespace \"default\"");
        (await cluster.Alice.Get("/logs/x")).Fails(403, "Forbidden", "forbidden: User \"alice\" cannot get path \"/logs/x\"");
        (await cluster.Alice.Get("/api")).Is(200);
    }

    [Fact]
    public async Task A_role_and_its_binding_open_exactly_what_they_say()
    {
        string ns = await cluster.NewNamespace();
        string rbac = $"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}";
        (await cluster.Admin.Post(rbac + "/roles", """{"metadata":{"name":"r"},"rules":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list","create"]}]}""")).Is(201);
        (await cluster.Admin.Post(rbac + "/rolebindings", """
            {"metadata":{"name":"rb"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},
             "subjects":[{"kind":"Group","name":"team","apiGroup":"rbac.authorization.k8s.io"}]}
            """)).Is(201);
        ApiClient carol = cluster.As("carol", "team");
        string maps = $"/api/v1/namespaces/{ns}/configmaps";
        await Eventually(async () => (await carol.Get(maps)).Code == 200);
        (await carol.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201);
        (await carol.Delete(maps + "/a")).Fails(403, "Forbidden",
            $"configmaps \"a\" is forbidden: User \"carol\" cannot delete resource \"configmaps\" in API group \"\" in the namespace \"{ns}\"");
        (await carol.Get("/api/v1/configmaps")).Is(403);
        Answer review = (await carol.Post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            $$$$"""{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"namespace":"{{{{ns}}}}","verb":"get","resource":"configmaps"}}}""")).Is(201);
        Assert.Equal("true", review["status.allowed"]);
        (await cluster.Admin.Put(rbac + "/rolebindings/rb", """
            {"metadata":{"name":"rb"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[]}
            """)).Fails(422, "Invalid", "RoleBinding.rbac.authorization.k8s.io \"rb\" is invalid: roleRef: Invalid value: "
            + "{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"}: cannot change roleRef");
    }

    [Fact]
    public async Task Nobody_gives_away_more_than_he_has()
    {
        string ns = await cluster.NewNamespace();
        string rbac = $"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}";
        (await cluster.Admin.Post(rbac + "/roles", """{"metadata":{"name":"r"},"rules":[{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"],"verbs":["create"]}]}""")).Is(201);
        (await cluster.Admin.Post(rbac + "/rolebindings", """
            {"metadata":{"name":"rb"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"dora"}]}
            """)).Is(201);
        ApiClient dora = cluster.As("dora");
        const string Wide = """{"metadata":{"name":"w"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}""";
        await Eventually(async () => (await dora.Post(rbac + "/roles?dryRun=All", Wide))["message"].Contains("attempting to grant", StringComparison.Ordinal));
        Answer refused = (await dora.Post(rbac + "/roles", Wide)).Is(403);
        Assert.Equal("roles.rbac.authorization.k8s.io \"w\" is forbidden: user \"dora\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n"
            + "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}", refused["message"]);
    }

    [Fact]
    public async Task Impersonation_needs_permission_and_then_holds()
    {
        Answer who = (await cluster.Admin.Send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            """{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}""", headers: [("Impersonate-User", "bob"), ("Impersonate-Group", "staff")])).Is(201);
        Assert.Equal(("bob", "staff"), (who["status.userInfo.username"], who["status.userInfo.groups.0"]));
        (await cluster.Admin.Send("GET", "/api/v1/nodes", null, headers: ("Impersonate-User", "bob"))).Fails(403, "Forbidden",
            "nodes is forbidden: User \"bob\" cannot list resource \"nodes\" in API group \"\" at the cluster scope");
        (await cluster.Alice.Send("GET", "/api/v1/nodes", null, headers: ("Impersonate-User", "bob"))).Fails(403, "Forbidden",
            "users \"bob\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope");
    }

    private static async Task Eventually(Func<Task<bool>> holds)
    {
        using CancellationTokenSource late = new(TimeSpan.FromSeconds(20));
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        while (!await holds())
        {
            await pause.WaitForNextTickAsync(late.Token);
        }
    }
}

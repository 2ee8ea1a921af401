using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>Delete in all its forms.</summary>
public abstract class DeletionTests(ClusterFixture cluster)
{
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task A_delete_answers_with_a_status_that_names_the_object()
    {
        string maps = await Maps();
        string uid = (await _api.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201)["metadata.uid"];
        Answer gone = (await _api.Delete(maps + "/a")).Is(200);
        Assert.Equal(("Status", "Success", "a", "configmaps", uid),
            (gone["kind"], gone["status"], gone["details.name"], gone["details.kind"], gone["details.uid"]));
        (await _api.Get(maps + "/a")).Is(404);
    }

    [Fact]
    public async Task Preconditions_are_checked()
    {
        string maps = await Maps();
        Answer made = (await _api.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201);
        string uid = made["metadata.uid"];
        (await _api.Delete(maps + "/a", """{"preconditions":{"uid":"other"}}""")).Fails(409, "Conflict",
            $"Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the UID in record ({uid}). "
            + "The object might have been deleted and then recreated");
        (await _api.Delete(maps + "/a", """{"preconditions":{"resourceVersion":"1"}}""")).Fails(409, "Conflict",
            $"Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({made.Version}). "
            + "The object might have been modified");
        (await _api.Delete(maps + "/a", $$$"""{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"{{{uid}}}","resourceVersion":"{{{made.Version}}}"}}""")).Is(200);
    }

    [Fact]
    public async Task Finalizers_hold_an_object()
    {
        string maps = await Maps();
        (await _api.Post(maps, """{"metadata":{"name":"a","finalizers":["x.io/hold"]}}""")).Is(201);
        Answer marked = (await _api.Delete(maps + "/a")).Is(200);
        Assert.Equal("ConfigMap", marked["kind"]);
        Assert.NotEqual("", marked["metadata.deletionTimestamp"]);
        Assert.Equal("0", marked["metadata.deletionGracePeriodSeconds"]);
        Answer again = (await _api.Delete(maps + "/a")).Is(200);
        Assert.Equal(marked["metadata.deletionTimestamp"], again["metadata.deletionTimestamp"]);
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"metadata":{"finalizers":["x.io/hold","x.io/new"]}}""")).Fails(422, "Invalid",
            "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x.io/new\"}");
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"metadata":{"finalizers":null}}""")).Is(200);
        (await _api.Get(maps + "/a")).Is(404);
    }

    [Theory]
    [InlineData("Foreground", "foregroundDeletion")]
    [InlineData("Orphan", "orphan")]
    public async Task Propagation_becomes_a_finalizer(string policy, string finalizer)
    {
        string maps = await Maps();
        (await _api.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201);
        Answer marked = (await _api.Delete($"{maps}/a?propagationPolicy={policy}")).Is(200);
        Assert.Equal(finalizer, marked["metadata.finalizers.0"]);
        Assert.NotEqual("", marked["metadata.deletionTimestamp"]);
    }

    [Fact]
    public async Task Propagation_in_the_background_leaves_nothing()
    {
        string maps = await Maps();
        (await _api.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201);
        Assert.Equal("Status", (await _api.Delete(maps + "/a", """{"propagationPolicy":"Background"}""")).Is(200)["kind"]);
        (await _api.Delete(maps + "/a?propagationPolicy=Sideways")).Fails(422, "Invalid",
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"");
        (await _api.Delete(maps + "/a", """{"propagationPolicy":"Orphan","orphanDependents":true}""")).Fails(422, "Invalid",
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set");
        (await _api.Delete(maps + "/a", """{"kind":"Pod","apiVersion":"v1"}""")).Fails(400, "BadRequest", "decoded object cannot be converted to DeleteOptions");
    }

    [Fact]
    public async Task A_collection_is_deleted_by_selection()
    {
        string maps = await Maps();
        foreach (string name in (string[])["a", "b", "c"])
        {
            (await _api.Post(maps, $$$$"""{"metadata":{"name":"{{{{name}}}}","labels":{"l":"{{{{name}}}}"}}}""")).Is(201);
        }

        Answer deleted = (await _api.Delete(maps + "?labelSelector=l%20in%20(a,b)")).Is(200);
        Assert.Equal(("ConfigMapList", "a,b"), (deleted["kind"], string.Join(',', deleted.Names())));
        Assert.Equal(["c"], (await _api.Get(maps)).Names());
        (await _api.Delete(maps + "?dryRun=All")).Is(200);
        Assert.Equal(["c"], (await _api.Get(maps)).Names());
        (await _api.Delete(maps)).Is(200);
        Assert.Empty((await _api.Get(maps)).Names());
    }

    [Fact]
    public async Task A_pod_on_a_node_gets_its_grace_period()
    {
        string pods = $"/api/v1/namespaces/{await cluster.NewNamespace()}/pods";
        (await _api.Post(pods, Pods.Body("a", node: "n1"))).Is(201);
        Answer marked = (await _api.Delete(pods + "/a")).Is(200);
        Assert.Equal(("Pod", "30"), (marked["kind"], marked["metadata.deletionGracePeriodSeconds"]));
        Assert.Equal("2", marked["metadata.generation"]);
        Answer shorter = (await _api.Delete(pods + "/a?gracePeriodSeconds=5")).Is(200);
        Assert.Equal("5", shorter["metadata.deletionGracePeriodSeconds"]);
        (await _api.Delete(pods + "/a?gracePeriodSeconds=0")).Is(200);
        (await _api.Get(pods + "/a")).Is(404);
        (await _api.Post(pods, Pods.Body("b"))).Is(201);
        (await _api.Delete(pods + "/b")).Is(200);
        (await _api.Get(pods + "/b")).Is(404);
    }

    [Fact]
    public async Task A_namespace_is_deleted_in_two_steps_and_takes_nothing_new_in_between()
    {
        string ns = await cluster.NewNamespace();
        Answer marked = (await _api.Delete("/api/v1/namespaces/" + ns)).Is(200);
        Assert.Equal(("Namespace", "Terminating", "kubernetes"), (marked["kind"], marked["status.phase"], marked["spec.finalizers.0"]));
        (await _api.Post($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"late"}}""")).Fails(403, "Forbidden",
            $"configmaps \"late\" is forbidden: unable to create new content in namespace {ns} because it is being terminated")
            .About("configmaps", "", "late").Because($"NamespaceTerminating|metadata.namespace|namespace {ns} is being terminated");
        (await _api.Put($"/api/v1/namespaces/{ns}/finalize", $$$"""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"{{{ns}}}"},"spec":{}}""")).Is(200);
        (await _api.Get("/api/v1/namespaces/" + ns)).Is(404);
        (await _api.Post($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"late"}}""")).Fails(404, "NotFound", $"namespaces \"{ns}\" not found");
        (await _api.Delete("/api/v1/namespaces/kube-system")).Fails(403, "Forbidden",
            "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
    }

    private async Task<string> Maps() => $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
}

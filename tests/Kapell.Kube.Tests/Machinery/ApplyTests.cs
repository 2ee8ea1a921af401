using System.Text.Json.Nodes;
using Kapell.ApiServer.OpenApi;
using Kapell.Machinery;
using Kapell.Machinery.Apply;
using Kapell.Machinery.Schemas;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class ApplyTests
{
    private const string Version = "apps/v1";
    private static readonly TypeSchema Schema = BuiltinSchemas.Set.Get("io.k8s.api.apps.v1.Deployment");
    private static readonly DateTimeOffset Then = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly DateTimeOffset Later = Then.AddMinutes(1);

    [Fact]
    public void A_create_is_recorded_as_upstream_records_it()
    {
        JsonObject web = Deployment("""
            {"replicas":3,"selector":{"matchLabels":{"app":"web"}},"strategy":{"rollingUpdate":{"maxSurge":1},"type":"RollingUpdate"},
             "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"nginx","ports":[{"containerPort":80}]}]}}}
            """, """{"app":"web"}""");
        ManagedFields.OnUpdate(null, web, "kubectl-create", Version, "", Then, Schema);
        JsonObject entry = Assert.Single(Entries(web));
        Assert.Equal(("kubectl-create", "Update", Version, "2026-01-02T03:04:05Z"),
            (entry.Text("manager"), entry.Text("operation"), entry.Text("apiVersion"), entry.Text("time")));
        Assert.Equal(
            """{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}""",
            System.Text.Encoding.UTF8.GetString(JsonBytes.Of(entry["fieldsV1"]!)));
    }

    [Fact]
    public void An_update_that_changes_nothing_keeps_the_time()
    {
        JsonObject old = Deployment("""{"replicas":3}""");
        ManagedFields.OnUpdate(null, old, "a", Version, "", Then, Schema);
        JsonObject same = (JsonObject)old.DeepClone();
        ManagedFields.OnUpdate(old, same, "a", Version, "", Later, Schema);
        Assert.True(JsonNode.DeepEquals(old, same));

        JsonObject scaled = (JsonObject)old.DeepClone();
        scaled["spec"]!["replicas"] = 5;
        ManagedFields.OnUpdate(old, scaled, "b", Version, "", Later, Schema);
        JsonObject entry = Assert.Single(Entries(scaled));
        Assert.Equal("b", entry.Text("manager"));
    }

    [Fact]
    public void A_client_that_does_not_know_managed_fields_does_not_lose_them()
    {
        JsonObject old = Deployment("""{"replicas":3,"paused":true}""");
        ManagedFields.OnUpdate(null, old, "a", Version, "", Then, Schema);
        JsonObject changed = Deployment("""{"replicas":4,"paused":true}""");
        ManagedFields.OnUpdate(old, changed, "b", Version, "", Later, Schema);
        Assert.Equal(["a", "b"], Entries(changed).Select(e => e.Text("manager")));
    }

    [Fact]
    public void Apply_conflicts_with_what_an_updater_holds_and_force_takes_it()
    {
        JsonObject live = Deployment("""{"replicas":3}""");
        ManagedFields.OnUpdate(null, live, "kubectl", Version, "", Then, Schema);
        JsonObject config = Deployment("""{"replicas":5}""");
        StatusException e = Assert.Throws<StatusException>(() => ServerSideApply.Apply(live, config, "ci", false, Version, "", Later, Schema));
        Assert.Equal((409, "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"), (e.Code, e.Status.Message));
        Assert.Equal(new StatusCause("FieldManagerConflict", "conflict with \"kubectl\" using apps/v1", ".spec.replicas"), Assert.Single(e.Status.Causes));

        JsonObject forced = ServerSideApply.Apply(live, config, "ci", true, Version, "", Later, Schema);
        Assert.Equal(5, (int)forced["spec"]!["replicas"]!);
        Assert.Equal("ci", Assert.Single(Entries(forced)).Text("manager"));
    }

    [Fact]
    public void What_is_no_longer_applied_goes_unless_another_applies_it_too()
    {
        JsonObject first = Apply(null, """{"replicas":3,"paused":true,"minReadySeconds":5}""", "a");
        JsonObject shared = Apply(first, """{"paused":true}""", "b");
        JsonObject less = Apply(shared, """{"replicas":3}""", "a");
        Assert.Equal("""{"replicas":3,"paused":true}""", less["spec"]!.ToJsonString());
        JsonObject gone = Apply(less, """{"replicas":3}""", "b");
        Assert.Equal("""{"replicas":3}""", gone["spec"]!.ToJsonString());
    }

    [Fact]
    public void Keyed_lists_are_shared_item_by_item()
    {
        JsonObject live = Apply(null, Containers("""{"name":"web","image":"nginx"}"""), "a");
        JsonObject both = Apply(live, Containers("""{"name":"side","image":"envoy"}"""), "b");
        JsonArray containers = both["spec"]!["template"]!["spec"]!["containers"]!.AsArray();
        Assert.Equal(["side", "web"], containers.Select(c => c.Text("name")).Order());
        JsonObject less = Apply(both, """{"replicas":1}""", "b");
        Assert.Equal("web", Assert.Single(less["spec"]!["template"]!["spec"]!["containers"]!.AsArray()).Text("name"));
    }

    [Fact]
    public void Applying_the_same_again_changes_nothing()
    {
        JsonObject live = Apply(null, """{"replicas":3}""", "a");
        JsonObject again = ServerSideApply.Apply(live, Deployment("""{"replicas":3}"""), "a", false, Version, "", Later, Schema);
        Assert.True(JsonNode.DeepEquals(live, again), again.ToJsonString());
    }

    [Fact]
    public void Kubectl_takes_over_from_client_side_apply_without_conflict()
    {
        JsonObject live = Deployment("""{"replicas":3}""");
        live["metadata"]!["annotations"] = new JsonObject
        {
            ["kubectl.kubernetes.io/last-applied-configuration"] = Deployment("""{"replicas":3}""").ToJsonString(),
        };
        ManagedFields.OnUpdate(null, live, "kubectl-client-side-apply", Version, "", Then, Schema);
        JsonObject result = Apply(live, """{"replicas":4}""", "kubectl");
        Assert.Equal(4, (int)result["spec"]!["replicas"]!);
        Assert.Contains("\"replicas\":4", result["metadata"]!["annotations"].Text("kubectl.kubernetes.io/last-applied-configuration"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_list_item_without_its_key_is_refused()
    {
        StatusException e = Assert.Throws<StatusException>(() => Apply(null, Containers("""{"image":"nginx"}"""), "a"));
        Assert.Equal(
            "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
            e.Status.Message);
    }

    private static string Containers(string container) => "{\"template\":{\"spec\":{\"containers\":[" + container + "]}}}";

    private static JsonObject Apply(JsonObject? live, string spec, string manager) =>
        ServerSideApply.Apply(live, Deployment(spec), manager, false, Version, "", Then, Schema);

    private static JsonObject Deployment(string spec, string labels = "") => (JsonObject)JsonNode.Parse(
        "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\"" +
        (labels.Length > 0 ? ",\"labels\":" + labels : "") + "},\"spec\":" + spec + "}")!;

    private static JsonObject[] Entries(JsonObject obj) => [.. obj["metadata"]!["managedFields"]!.AsArray().Select(e => (JsonObject)e!)];
}

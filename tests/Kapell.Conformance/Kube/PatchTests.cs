using System.Text.Json.Nodes;
using Xunit;

namespace Kapell.Conformance.Kube;

/// <summary>The four kinds of patch, and who owns which field after an apply.</summary>
public abstract class PatchTests(ClusterFixture cluster)
{
    private readonly ApiClient _api = cluster.Admin;

    [Fact]
    public async Task Merge_patches_replace_lists_and_remove_with_null()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        (await _api.Post(maps, """{"metadata":{"name":"a","finalizers":["x.io/a"]},"data":{"a":"1","b":"2"}}""")).Is(201);
        Answer patched = (await _api.Patch(maps + "/a", ApiClient.MergePatch,
            """{"metadata":{"finalizers":["x.io/b"]},"data":{"a":null,"c":"3"}}""")).Is(200);
        Assert.Equal("""{"b":"2","c":"3"}""", patched.At("data")!.ToJsonString());
        Assert.Equal("""["x.io/b"]""", patched.At("metadata.finalizers")!.ToJsonString());
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"metadata":{"resourceVersion":"1"}}""")).Fails(409, "Conflict",
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again");
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"metadata":{"name":"b"}}""")).Is(400);
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, "[")).Fails(400, "BadRequest", "invalid JSON patch");
        (await _api.Patch(maps + "/a", ApiClient.MergePatch, "[]")).Fails(400, "BadRequest",
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}");
        (await _api.Patch(maps + "/a?force=true", ApiClient.MergePatch, "{}")).Fails(422, "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch");
    }

    [Fact]
    public async Task A_patch_that_says_a_field_twice_is_warned_of()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        (await _api.Post(maps, """{"metadata":{"name":"a"}}""")).Is(201);
        Answer warned = (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"data":{"k":"1","k":"2"}}""")).Is(200);
        Assert.Equal(["299 - \"duplicate field \\\"data.k\\\"\""], warned.Warnings);
        Assert.Equal("2", warned["data.k"]);
        Answer refused = (await _api.Patch(maps + "/a?fieldValidation=Strict", ApiClient.StrategicPatch, """{"data":{"k":"1","k":"2"},"extra":1}""")).Is(422);
        Assert.Equal(" \"\" is invalid: patch: Invalid value: \"map[data:map[k:2] extra:1]\": strict decoding error: duplicate field \"data.k\", "
            + "unknown field \"extra\"", refused["message"]);
        Answer operations = (await _api.Patch(maps + "/a", ApiClient.JsonPatch, """[{"op":"test","op":"add","path":"/data/j","value":"1"}]""")).Is(200);
        Assert.Equal(["299 - \"json patch duplicate field \\\"[0].op\\\"\""], operations.Warnings);
    }

    [Fact]
    public async Task Json_patches_are_lists_of_operations()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        (await _api.Post(maps, """{"metadata":{"name":"a","annotations":{"a/b":"1","c":"2"}},"data":{"b":"2"}}""")).Is(201);
        Answer patched = (await _api.Patch(maps + "/a", ApiClient.JsonPatch, """
            [{"op":"test","path":"/data/b","value":"2"},{"op":"remove","path":"/metadata/annotations/a~1b"},{"op":"add","path":"/data/c","value":"3"},
             {"op":"copy","from":"/data/b","path":"/data/d"},{"op":"move","from":"/data/b","path":"/data/e"},{"op":"replace","path":"/data/c","value":"4"}]
            """)).Is(200);
        Assert.Equal("""{"c":"4","d":"2","e":"2"}""", Sorted(patched.At("data")!));
        Assert.Equal("""{"c":"2"}""", patched.At("metadata.annotations")!.ToJsonString());
        const string Rejected = "the server rejected our request due to an error in our request";
        (await _api.Patch(maps + "/a", ApiClient.JsonPatch, """[{"op":"test","path":"/data/c","value":"9"}]""")).Fails(422, "Invalid", Rejected);
        (await _api.Patch(maps + "/a", ApiClient.JsonPatch, """[{"op":"remove","path":"/data/none"}]""")).Fails(422, "Invalid", Rejected);
        (await _api.Patch(maps + "/a", ApiClient.JsonPatch, """{"op":"remove"}""")).Fails(400, "BadRequest",
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp");
    }

    [Fact]
    public async Task Strategic_patches_merge_lists_by_key()
    {
        string deployments = $"/apis/apps/v1/namespaces/{await cluster.NewNamespace()}/deployments";
        (await _api.Post(deployments, Workloads.Deployment("web", "nginx"))).Is(201);
        Answer patched = (await _api.Patch(deployments + "/web", ApiClient.StrategicPatch, """
            {"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox"},{"name":"c","env":[{"name":"A","value":"1"}]}]}}}}
            """)).Is(200);
        JsonArray containers = (JsonArray)patched.At("spec.template.spec.containers")!;
        Assert.Equal(["c", "side"], containers.Select(c => c!["name"]!.ToString()).Order());
        Assert.Equal("nginx", containers.Single(c => c!["name"]!.ToString() == "c")!["image"]!.ToString());
        Assert.Equal("2", patched["metadata.generation"]);
        Answer removed = (await _api.Patch(deployments + "/web", ApiClient.StrategicPatch,
            """{"spec":{"template":{"spec":{"containers":[{"name":"side","$patch":"delete"}]}}}}""")).Is(200);
        Assert.Single((JsonArray)removed.At("spec.template.spec.containers")!);
    }

    [Fact]
    public async Task Apply_creates_owns_and_removes()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        Answer made = (await _api.Apply(maps + "/a", "one", Map("a: '1'", "b: '2'"))).Is(201);
        Assert.Equal("one", made["metadata.managedFields.0.manager"]);
        Assert.Equal("Apply", made["metadata.managedFields.0.operation"]);
        Assert.Equal("""{"f:data":{"f:a":{},"f:b":{}}}""", made.At("metadata.managedFields.0.fieldsV1")!.ToJsonString());
        Answer second = (await _api.Apply(maps + "/a", "one", Map("a: '1'"))).Is(200);
        Assert.Equal("""{"a":"1"}""", second.At("data")!.ToJsonString());
        Answer same = (await _api.Apply(maps + "/a", "one", Map("a: '1'"))).Is(200);
        Assert.Equal(second.Version, same.Version);
        (await _api.Apply(maps + "/a", "two", Map("a: '9'"))).Fails(409, "Conflict",
            "Apply failed with 1 conflict: conflict with \"one\": .data.a").Because("FieldManagerConflict|.data.a|conflict with \"one\"");
        Answer forced = (await _api.Apply(maps + "/a", "two", Map("a: '9'"), force: true)).Is(200);
        Assert.Equal("9", forced["data.a"]);
        Assert.Equal(["two"], ((JsonArray)forced.At("metadata.managedFields")!).Select(m => m!["manager"]!.ToString()));
        (await _api.Patch(maps + "/a?fieldManager=three", ApiClient.MergePatch, """{"data":{"c":"3"}}""")).Is(200);
        Answer conflict = (await _api.Apply(maps + "/a", "two", Map("a: '9'", "c: '4'"))).Is(409);
        Assert.StartsWith("Apply failed with 1 conflict: conflict with \"three\" using v1", conflict["message"], StringComparison.Ordinal);
        Answer shared = (await _api.Apply(maps + "/a", "two", Map("a: '9'", "c: '3'"))).Is(200);
        Assert.Equal(2, ((JsonArray)shared.At("metadata.managedFields")!).Count);
    }

    [Fact]
    public async Task Apply_says_what_it_needs()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        (await _api.Patch(maps + "/a", ApiClient.ApplyPatch, Map("a: '1'"))).Fails(422, "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
        (await _api.Apply(maps + "/b", "one", Map("a: '1'"))).Is(400);
        (await _api.Apply(maps + "/a", "one", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, managedFields: [{manager: x}]}}")).Fails(400, "BadRequest",
            "metadata.managedFields must be nil");
        (await _api.Apply(maps + "/a", "one", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, nonsense: 1}")).Is(500);
    }

    [Fact]
    public async Task Every_writer_is_named_in_managedFields()
    {
        string maps = $"/api/v1/namespaces/{await cluster.NewNamespace()}/configmaps";
        Answer made = (await _api.Post(maps, """{"metadata":{"name":"a"},"data":{"k":"v"}}""")).Is(201);
        JsonNode entry = made.At("metadata.managedFields.0")!;
        Assert.Equal(("conformance", "Update", "v1", "FieldsV1"),
            (entry["manager"]!.ToString(), entry["operation"]!.ToString(), entry["apiVersion"]!.ToString(), entry["fieldsType"]!.ToString()));
        Assert.Equal("""{"f:data":{".":{},"f:k":{}}}""", entry["fieldsV1"]!.ToJsonString());
        Answer named = (await _api.Patch(maps + "/a?fieldManager=me", ApiClient.MergePatch, """{"data":{"j":"1"}}""")).Is(200);
        Assert.Equal(["conformance", "me"], ((JsonArray)named.At("metadata.managedFields")!).Select(m => m!["manager"]!.ToString()).Order());
        Answer cleared = (await _api.Patch(maps + "/a", ApiClient.MergePatch, """{"metadata":{"managedFields":[{}]}}""")).Is(200);
        Assert.Null(cleared.At("metadata.managedFields"));
    }

    private static string Map(params string[] data) => $$"""
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: a}
        data: { {{string.Join(", ", data)}} }
        """;

    private static string Sorted(JsonNode o) =>
        new JsonObject(o.AsObject().OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Key, p.Value?.DeepClone()))).ToJsonString();
}

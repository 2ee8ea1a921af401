using System.Text;
using System.Text.Json.Nodes;
using CsCheck;
using Kapell.ApiServer.OpenApi;
using Kapell.Machinery;
using Kapell.Machinery.Patches;
using Kapell.Machinery.Schemas;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class PatchTests
{
    private static readonly TypeSchema Pod = BuiltinSchemas.Set.Get("io.k8s.api.core.v1.Pod");
    private static readonly TypeSchema Deployment = BuiltinSchemas.Set.Get("io.k8s.api.apps.v1.Deployment");

    internal static readonly Gen<JsonNode?> GenJson = Gen.Recursive<JsonNode?>((depth, self) => depth > 3
        ? GenLeaf
        : Gen.OneOf(
            GenLeaf,
            Gen.Select(GenName, self).Array[0, 4].Select(Object),
            self.Array[0, 4].Select(items => (JsonNode?)new JsonArray([.. items.Select(i => i?.DeepClone())]))));

    private static Gen<string> Pick(params string[] texts) => Gen.Int[0, texts.Length - 1].Select(i => texts[i]);

    private static Gen<string> GenName => Pick(
        "metadata", "spec", "containers", "name", "ports", "containerPort", "image", "env", "volumes", "finalizers", "labels", "$patch",
        "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "template", "a");

    private static Gen<JsonNode?> GenLeaf => Gen.OneOf(
        Pick("replace", "delete", "merge", "x", "web").Select(s => (JsonNode?)JsonValue.Create(s)),
        Gen.Int[0, 3].Select(i => (JsonNode?)JsonValue.Create(i)),
        Gen.Bool.Select(b => (JsonNode?)JsonValue.Create(b)),
        Gen.Const((JsonNode?)null));

    [Theory]
    [InlineData("""{"a":1,"b":{"c":2}}""", """{"a":null,"b":{"d":3}}""", """{"b":{"c":2,"d":3}}""")]
    [InlineData("""{"a":[1,2]}""", """{"a":[3]}""", """{"a":[3]}""")]
    [InlineData("""{}""", """{"a":{"b":null}}""", """{"a":{}}""")]
    public void Merge_patches_follow_the_rfc(string target, string patch, string expected) =>
        Same(expected, MergePatch.Apply(Parse(target), Bytes(patch)));

    [Theory]
    [InlineData("""{"a":{"b":1}}""", """[{"op":"add","path":"/a/c","value":2},{"op":"remove","path":"/a/b"}]""", """{"a":{"c":2}}""")]
    [InlineData("""{"a":[1,2]}""", """[{"op":"add","path":"/a/-","value":3},{"op":"replace","path":"/a/0","value":9}]""", """{"a":[9,2,3]}""")]
    [InlineData("""{"a":{"x/y":1}}""", """[{"op":"move","from":"/a/x~1y","path":"/b"}]""", """{"a":{},"b":1}""")]
    [InlineData("""{"a":1}""", """[{"op":"test","path":"/a","value":1},{"op":"copy","from":"/a","path":"/b"}]""", """{"a":1,"b":1}""")]
    public void Json_patches_follow_the_rfc(string target, string patch, string expected) =>
        Same(expected, JsonPatch.Apply(Parse(target), Bytes(patch)));

    [Theory]
    [InlineData("""[{"op":"test","path":"/a","value":2}]""", "testing value /a failed: test failed")]
    [InlineData("""[{"op":"remove","path":"/x"}]""", "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value")]
    [InlineData("""[{"op":"replace","path":"/x/y","value":1}]""", "replace operation does not apply: doc is missing path: /x/y: missing value")]
    public void Json_patches_that_do_not_fit_are_refused(string patch, string message) =>
        Assert.Equal(message, Assert.Throws<StatusException>(() => JsonPatch.Apply(Parse("""{"a":1}"""), Bytes(patch))).Status.Message);

    [Theory]
    [InlineData("""{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]}}""",
        """{"spec":{"containers":[{"name":"b","image":"3"},{"name":"c","image":"4"}]}}""",
        """{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"3"},{"name":"c","image":"4"}]}}""")]
    [InlineData("""{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"}]}}""",
        """{"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"9"}]}}""",
        """{"spec":{"containers":[{"name":"b","image":"2"},{"name":"a","image":"9"}]}}""")]
    [InlineData("""{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}""",
        """{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}""",
        """{"spec":{"containers":[{"name":"b"}]}}""")]
    [InlineData("""{"metadata":{"finalizers":["a/a","b/b"]}}""",
        """{"metadata":{"$deleteFromPrimitiveList/finalizers":["a/a"]}}""",
        """{"metadata":{"finalizers":["b/b"]}}""")]
    [InlineData("""{"metadata":{"finalizers":["a/a"]}}""", """{"metadata":{"finalizers":["b/b","a/a"]}}""", """{"metadata":{"finalizers":["b/b","a/a"]}}""")]
    [InlineData("""{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}""",
        """{"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}}""",
        """{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}""")]
    [InlineData("""{"spec":{"tolerations":[{"key":"a"}],"nodeSelector":{"a":"b"}}}""",
        """{"spec":{"tolerations":[{"key":"b"}],"nodeSelector":{"$patch":"replace","c":"d"}}}""",
        """{"spec":{"tolerations":[{"key":"b"}],"nodeSelector":{"c":"d"}}}""")]
    public void Strategic_patches_merge_by_the_schema(string target, string patch, string expected) =>
        Same(expected, StrategicMergePatch.Apply(Parse(target), Bytes(patch), Pod));

    [Fact]
    public void A_strategic_patch_without_the_merge_key_is_refused() => Assert.Equal(
        "map: map[image:x] does not contain declared merge key: name",
        Assert.Throws<StatusException>(() => StrategicMergePatch.Apply(
            Parse("""{"spec":{"containers":[{"name":"a"}]}}"""), Bytes("""{"spec":{"containers":[{"image":"x"}]}}"""), Pod)).Status.Message);

    [Fact]
    public void Strategic_patches_never_fail_but_with_a_status_and_leave_their_inputs_alone() =>
        Gen.Select(GenJson, GenJson).Sample((a, b) =>
        {
            if (a is not JsonObject target || b is not JsonObject patch)
            {
                return;
            }

            (string before, string change) = (target.ToJsonString(), patch.ToJsonString());
            try
            {
                StrategicMergePatch.Apply(target, patch, Deployment).ToJsonString();
            }
            catch (StatusException)
            {
                // Refused: what a patch may be.
            }

            Assert.Equal((before, change), (target.ToJsonString(), patch.ToJsonString()));
        });

    [Fact]
    public void A_merge_patch_made_of_two_objects_leads_from_one_to_the_other() =>
        Gen.Select(GenJson, GenJson).Sample((a, b) =>
        {
            JsonObject from = MergePatch.Apply(null, a) as JsonObject ?? [];
            JsonObject to = MergePatch.Apply(null, b) as JsonObject ?? [];
            JsonNode? reached = MergePatch.Apply(from, MergePatch.Diff(from, to));
            Assert.True(JsonNode.DeepEquals(to, reached), $"{from.ToJsonString()} to {to.ToJsonString()} gave {reached?.ToJsonString()}");
        });

    internal static JsonObject Parse(string json) => (JsonObject)JsonNode.Parse(json)!;

    private static JsonNode? Object((string Name, JsonNode? Value)[] members)
    {
        JsonObject result = [];
        foreach ((string name, JsonNode? value) in members)
        {
            result[name] = value?.DeepClone();
        }

        return result;
    }

    private static byte[] Bytes(string json) => Encoding.UTF8.GetBytes(json);

    private static void Same(string expected, JsonNode actual) =>
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), actual), actual.ToJsonString());
}

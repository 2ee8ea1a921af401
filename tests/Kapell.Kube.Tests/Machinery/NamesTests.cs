using System.Text.Json.Nodes;
using Kapell.Machinery;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class NamesTests
{
    [Fact]
    public void Names_are_refused_in_upstreams_words()
    {
        Assert.Empty(Names.IsDns1123Subdomain("a.b-c.d0"));
        Assert.Equal(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            Assert.Single(Names.IsDns1123Subdomain("Bad_Name")));
        Assert.Equal("must not contain dots", Assert.Single(Names.IsDns1123Label("a.b")));
        Assert.Equal("must be no more than 63 characters", Assert.Single(Names.IsDns1123Label(new string('a', 64))));
        Assert.Equal(2, Names.IsDns1035Label("0" + new string('a', 64)).Count);
        Assert.Equal("prefix part must be non-empty", Assert.Single(Names.IsQualifiedName("/a")));
        Assert.Equal("may not contain '/'", Assert.Single(Names.IsPathSegment("a/b")));
        Assert.Equal("may not be '..'", Assert.Single(Names.IsPathSegment("..")));
        Assert.Equal("must not start with '..'", Assert.Single(Names.IsConfigMapKey("..a")));
        Assert.Equal("must contain at least one letter (a-z)", Assert.Single(Names.IsPortName("80")));
    }

    [Fact]
    public void Metadata_is_validated_field_by_field()
    {
        JsonObject meta = (JsonObject)JsonNode.Parse("""
            {"name":"Web","namespace":"ns","labels":{"a b":"c"},"finalizers":["x/y/z"],
             "ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","controller":true},{"apiVersion":"v1","kind":"Pod","name":"q","uid":"u","controller":true}]}
            """)!;
        string[] errors = [.. ObjectMetaValidation.Validate(meta, false, NameChecks.Dns1123Label, FieldPath.New("metadata")).Select(e => e.ToString())];
        Assert.StartsWith("metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 label must", errors[0], StringComparison.Ordinal);
        Assert.Equal("metadata.namespace: Forbidden: not allowed on this type", errors[1]);
        Assert.StartsWith("metadata.labels: Invalid value: \"a b\": name part must consist", errors[2], StringComparison.Ordinal);
        Assert.Equal("metadata.ownerReferences[0].uid: Required value: must not be empty", errors[3]);
        Assert.EndsWith("Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and Pod/q", errors[4], StringComparison.Ordinal);
        Assert.StartsWith("metadata.finalizers: Invalid value: \"x/y/z\": a valid label key must consist", errors[5], StringComparison.Ordinal);
    }

    [Fact]
    public void Updates_may_not_change_identity()
    {
        JsonObject old = (JsonObject)JsonNode.Parse("""{"name":"a","uid":"1","resourceVersion":"7","deletionTimestamp":"2024-01-01T00:00:00Z"}""")!;
        JsonObject changed = (JsonObject)JsonNode.Parse("""{"name":"a","uid":"2","finalizers":["a/b"],"deletionTimestamp":"2024-01-01T00:00:00Z"}""")!;
        string[] errors = [.. ObjectMetaValidation.ValidateUpdate(changed, old, FieldPath.New("metadata")).Select(e => e.ToString())];
        Assert.Equal(
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}",
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.uid: Invalid value: \"2\": field is immutable",
        ], errors);
    }

    [Theory]
    [InlineData("2024-05-06T07:08:09Z", "2024-05-06T07:08:09.000000Z")]
    [InlineData("2024-05-06T07:08:09.123456789+02:00", "2024-05-06T05:08:09.123456Z")]
    [InlineData("2024-05-06", null)]
    [InlineData("2024-05-06T07:08:09", null)]
    public void Times_are_read_strictly(string text, string? micro)
    {
        bool good = KubeTime.TryParse(text, out DateTimeOffset time);
        Assert.Equal(micro, good ? KubeTime.FormatMicro(time) : null);
    }
}

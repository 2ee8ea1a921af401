using System.Text;
using System.Text.Json.Nodes;
using Kapell.ApiServer.OpenApi;
using Kapell.Machinery;
using Kapell.Machinery.Decoding;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class DecoderTests
{
    [Theory]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":"3"}}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32")]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1.5}}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32")]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"name":"a","image":1}]}}}}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.image of type string")]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","spec":[]}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec")]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"labels":{"a":1}}}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string")]
    [InlineData("""{"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"x"}}}]}}}}""",
        "Deployment in version \"v1\" cannot be handled as a Deployment: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    public void A_value_of_the_wrong_type_is_refused_in_gos_words(string body, string message)
    {
        StatusException e = Assert.Throws<StatusException>(() => Decode(body, out _));
        Assert.Equal((400, message), (e.Code, e.Status.Message));
    }

    [Fact]
    public void Unknown_and_duplicate_fields_are_reported_and_dropped()
    {
        JsonObject obj = Decode("""
            {"apiVersion":"apps/v1","kind":"Deployment","Spec":{},"spec":{"replicas":1,"replicas":2,"foo":{"x":1},
             "template":{"spec":{"containers":[{"name":"a"},{"name":"b","imagee":"x"}]}}}}
            """, out List<string> errors);
        Assert.Equal(
        [
            "unknown field \"Spec\"", "duplicate field \"spec.replicas\"", "unknown field \"spec.foo\"",
            "unknown field \"spec.template.spec.containers[1].imagee\"",
        ], errors);
        Assert.Equal(
            """{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}}}""",
            obj.ToJsonString());
    }

    [Fact]
    public void Nulls_and_empty_optional_lists_vanish_and_values_take_their_stored_form()
    {
        JsonObject obj = Decode("""
            {"metadata":{"creationTimestamp":null,"labels":{},"finalizers":[]},
             "spec":{"template":{"spec":{"containers":[],"volumes":[{"emptyDir":{"sizeLimit":1024}}]}}}}
            """, out List<string> errors);
        Assert.Empty(errors);
        Assert.Equal(
            """{"metadata":{},"spec":{"template":{"spec":{"containers":[],"volumes":[{"emptyDir":{"sizeLimit":"1024"}}]}}}}""", obj.ToJsonString());
    }

    [Fact]
    public void Depth_is_bounded() => Assert.Equal(400, Assert.Throws<StatusException>(
        () => Decode(new string('[', 5000) + new string(']', 5000), out _)).Code);

    private static JsonObject Decode(string body, out List<string> errors)
    {
        ObjectDecoder.Decode(Encoding.UTF8.GetBytes(body), BuiltinSchemas.Set.Get("io.k8s.api.apps.v1.Deployment"), out JsonObject obj, out errors);
        return obj;
    }
}

using System.Security.Cryptography;
using System.Text;
using Kapell.ApiServer.OpenApi;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Kapell.Machinery.Schemas;
using Xunit;

namespace Kapell.Kube.Tests.Machinery;

public sealed class SchemaTests
{
    /// <summary>
    /// Names, types, required and list facts of all types. A new version of the models, or of facts.txt, changes it: look at what
    /// changed, then write the new digest here.
    /// </summary>
    private const string Digest = "547954cd0b24f93d3ccad0098221f389a7ccd938551e50660408955b4ccc6b0b";

    [Fact]
    public void The_shape_of_the_api_types_is_the_one_we_know()
    {
        StringBuilder shape = new();
        foreach (TypeSchema type in BuiltinSchemas.Set.Types.Values.OrderBy(t => t.Name, StringComparer.Ordinal))
        {
            shape.Append(type.Name).Append(type.Atomic ? " atomic" : "").Append('\n');
            foreach (FieldSchema f in type.Fields)
            {
                shape.Append($"  {f.Name} {f.Value.GoName} {f.Required} {string.Join(',', f.PatchStrategy)} {f.PatchMergeKey} {f.ListType} {string.Join(',', f.ListMapKeys)} {f.Atomic} {f.AlwaysThere} {f.DefaultJson}\n");
            }
        }

        string digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(shape.ToString())));
        Assert.True(digest == Digest, digest);
    }

    [Fact]
    public void Every_resource_of_the_registry_has_its_schema() =>
        Assert.Empty(BuiltinResources.All.Select(r => r.SchemaName).Where(n => BuiltinSchemas.Set.Find(n) is null));

    [Fact]
    public void Lists_carry_their_merge_keys()
    {
        FieldSchema ports = BuiltinSchemas.Set.Get("io.k8s.api.core.v1.ServiceSpec").Field("ports")!;
        Assert.Equal((ListType.Map, "port", "port,protocol"), (ports.ListType, ports.PatchMergeKey, string.Join(',', ports.ListMapKeys)));
        Assert.Equal("\"TCP\"", ports.Value.Items!.Type!.Field("protocol")!.DefaultJson);
        Assert.True(BuiltinSchemas.Set.Get("io.k8s.api.core.v1.Container").Field("name")!.Required);
        Assert.Equal(ValueKind.MicroTime, BuiltinSchemas.Set.Get("io.k8s.api.coordination.v1.LeaseSpec").Field("renewTime")!.Value.Kind);
    }

    [Fact]
    public void Documents_name_every_type_they_refer_to()
    {
        OpenApiDocuments documents = new(BuiltinSchemas.Set, BuiltinResources.All);
        string text = Encoding.UTF8.GetString(documents.V2Json.Body);
        System.Text.Json.JsonElement definitions = System.Text.Json.JsonDocument.Parse(text).RootElement.GetProperty("definitions");
        foreach (string reference in text.Split("\"#/definitions/")[1..].Select(p => p[..p.IndexOf('"', StringComparison.Ordinal)]).Distinct())
        {
            Assert.True(definitions.TryGetProperty(reference, out _), reference);
        }

        Assert.NotEmpty(documents.V2Protobuf.Body);
        Assert.Contains("api/v1", Encoding.UTF8.GetString(documents.V3Index.Body), StringComparison.Ordinal);
    }
}

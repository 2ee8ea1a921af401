using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;
using Kapell.Machinery.Schemas;

namespace Kapell.ApiServer.OpenApi;

/// <summary>One document ready to send.</summary>
/// <param name="Hash">Of the bytes, in upper-case hexadecimal: the ETag, and what URLs of version 3 carry.</param>
public sealed record OpenApiDocument(byte[] Body, string ContentType, string Hash)
{
    public string ETag => "\"" + Hash + "\"";
}

/// <summary>The server's OpenAPI documents, each built when first asked for and kept. Safe to share between threads.</summary>
public sealed class OpenApiDocuments
{
    /// <summary>What kubectl's discovery client accepts for version 2; in answers the '@' is a dot, as upstream's are.</summary>
    public const string ProtobufV2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

    private const string Json = "application/json";

    private readonly SchemaSet _schemas;
    private readonly Dictionary<string, ResourceDefinition[]> _groups;
    private readonly Lazy<JsonObject> _two;
    private readonly Lazy<OpenApiDocument> _twoJson;
    private readonly Lazy<OpenApiDocument> _twoProtobuf;
    private readonly Lazy<OpenApiDocument> _index;
    private readonly Dictionary<string, Lazy<OpenApiDocument>> _three;

    public OpenApiDocuments(SchemaSet schemas, IReadOnlyList<ResourceDefinition> resources)
    {
        _schemas = schemas;
        _groups = resources.GroupBy(r => r.GroupVersionResource.BasePath[1..]).ToDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal);
        _two = new(() => BuildV2(resources));
        _twoJson = new(() => Ready(JsonBytes.Of(_two.Value), Json));
        _twoProtobuf = new(() => Ready(GnosticDocument.Write(_two.Value), ProtobufV2));
        _three = _groups.ToDictionary(g => g.Key, g => new Lazy<OpenApiDocument>(() => BuildV3(g.Value)), StringComparer.Ordinal);
        _index = new(BuildIndex);
    }

    /// <summary><c>/openapi/v2</c> for those who read JSON.</summary>
    public OpenApiDocument V2Json => _twoJson.Value;

    /// <summary><c>/openapi/v2</c> as <see cref="ProtobufV2"/>.</summary>
    public OpenApiDocument V2Protobuf => _twoProtobuf.Value;

    /// <summary><c>/openapi/v3</c>: where the documents of the groups are.</summary>
    public OpenApiDocument V3Index => _index.Value;

    /// <param name="path">Below <c>/openapi/v3/</c>: <c>api/v1</c>, <c>apis/apps/v1</c>. Null when there is no such group.</param>
    public OpenApiDocument? V3(string path) => _three.TryGetValue(path.Trim('/'), out Lazy<OpenApiDocument>? document) ? document.Value : null;

    private static OpenApiDocument Ready(byte[] body, string contentType) =>
        new(body, contentType, Convert.ToHexString(SHA512.HashData(body)));

    private static JsonObject Info() => new() { ["title"] = "Kubernetes", ["version"] = Client.KubernetesVersion.Plain };

    private static IEnumerable<string> Roots(IEnumerable<ResourceDefinition> resources) =>
        resources.SelectMany(r => r.Subresources.Where(s => s.Kind != r.GroupVersionKind).Select(s => PathDocuments.SchemaNameOf(s.Kind))
            .Append(r.SchemaName).Append(r.SchemaName + "List")).Concat(PathDocuments.Types);

    private JsonObject BuildV2(IReadOnlyList<ResourceDefinition> resources)
    {
        SchemaDocuments schemas = new(_schemas, three: false);
        return new JsonObject
        {
            ["swagger"] = "2.0", ["info"] = Info(), ["paths"] = Paths(schemas, resources, three: false), ["definitions"] = schemas.Closure(Roots(resources)),
        };
    }

    private OpenApiDocument BuildV3(ResourceDefinition[] resources)
    {
        SchemaDocuments schemas = new(_schemas, three: true);
        JsonObject document = new()
        {
            ["openapi"] = "3.0.0", ["info"] = Info(), ["paths"] = Paths(schemas, resources, three: true),
            ["components"] = new JsonObject { ["schemas"] = schemas.Closure(Roots(resources)) },
        };
        return Ready(JsonBytes.Of(document), Json);
    }

    private OpenApiDocument BuildIndex()
    {
        JsonObject paths = [];
        foreach (string path in _groups.Keys.Order(StringComparer.Ordinal))
        {
            paths[path] = new JsonObject { ["serverRelativeURL"] = $"/openapi/v3/{path}?hash={_three[path].Value.Hash}" };
        }

        return Ready(JsonBytes.Of(new JsonObject { ["paths"] = paths }), Json);
    }

    private static JsonObject Paths(SchemaDocuments schemas, IEnumerable<ResourceDefinition> resources, bool three)
    {
        JsonObject paths = [];
        PathDocuments writer = new(schemas, three);
        foreach (ResourceDefinition resource in resources)
        {
            writer.Add(paths, resource);
        }

        return paths;
    }
}

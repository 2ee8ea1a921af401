using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kapell.Machinery;

/// <summary>
/// One Kubernetes object as it lies in caches: immutable UTF-8 JSON, parsed at most once on demand, with the metadata everybody
/// asks for read once. Safe to share between threads. To change an object, take <see cref="ToNode"/>, change that, and send it.
/// Accessors answer for objects with wrong or missing types as if the field were absent: a cache is fed by strangers.
/// </summary>
public sealed class KubeObject
{
    private static readonly JsonDocumentOptions ParseOptions = new() { MaxDepth = 128 };
    private readonly Lazy<JsonElement> _root;
    private IReadOnlyDictionary<string, string>? _labels;
    private IReadOnlyDictionary<string, string>? _annotations;

    /// <param name="utf8">A whole JSON object; kept, not copied: nobody may write to it afterwards.</param>
    /// <exception cref="JsonException">Not a JSON object.</exception>
    public KubeObject(ReadOnlyMemory<byte> utf8)
    {
        Utf8 = utf8;
        JsonElement root = JsonDocument.Parse(utf8, ParseOptions).RootElement;
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw new JsonException("a Kubernetes object is a JSON object");
        }

        _root = new Lazy<JsonElement>(root);
        JsonElement meta = root.TryGetProperty("metadata", out JsonElement m) && m.ValueKind == JsonValueKind.Object ? m : default;
        Metadata = meta;
        ApiVersion = root.Text("apiVersion");
        Kind = root.Text("kind");
        Name = meta.Text("name");
        Namespace = meta.Text("namespace");
        Uid = meta.Text("uid");
        ResourceVersion = meta.Text("resourceVersion");
    }

    /// <summary>From an element of a larger document (a list's item, an event's object): the bytes are copied out.</summary>
    public static KubeObject From(JsonElement element) => new(JsonSerializer.SerializeToUtf8Bytes(element, KubeObjectJson.Default.JsonElement));

    public static KubeObject From(JsonNode node) => new(JsonBytes.Of(node));

    public ReadOnlyMemory<byte> Utf8 { get; }

    public JsonElement Root => _root.Value;

    /// <summary>The <c>metadata</c> object, or an undefined element.</summary>
    public JsonElement Metadata { get; }

    public string ApiVersion { get; }

    public string Kind { get; }

    public string Name { get; }

    public string Namespace { get; }

    public string Uid { get; }

    public string ResourceVersion { get; }

    public ObjectKey Key => new(Namespace, Name);

    public JsonElement Spec => Root.Get("spec");

    public JsonElement Status => Root.Get("status");

    public long Generation => Metadata.Long("generation");

    public bool IsDeleting => Metadata.Get("deletionTimestamp").ValueKind == JsonValueKind.String;

    public IReadOnlyDictionary<string, string> Labels => _labels ??= Metadata.TextMap("labels");

    public IReadOnlyDictionary<string, string> Annotations => _annotations ??= Metadata.TextMap("annotations");

    /// <summary>A mutable copy.</summary>
    public JsonObject ToNode() => JsonBytes.ParseObject(Utf8.Span);

    public override string ToString() => $"{Kind} {Key}@{ResourceVersion}";
}

/// <summary>Tolerant reading of JSON elements: what is absent or of another type reads as empty.</summary>
public static class JsonElementReading
{
    public static JsonElement Get(this JsonElement e, string name) =>
        e.ValueKind == JsonValueKind.Object && e.TryGetProperty(name, out JsonElement v) ? v : default;

    /// <summary>Follows names: <c>root.Get("spec", "template", "spec")</c>.</summary>
    public static JsonElement Get(this JsonElement e, params ReadOnlySpan<string> path)
    {
        foreach (string name in path)
        {
            e = e.Get(name);
        }

        return e;
    }

    public static string Text(this JsonElement e, string name)
    {
        JsonElement v = e.Get(name);
        return v.ValueKind == JsonValueKind.String ? v.GetString()! : "";
    }

    public static long Long(this JsonElement e, string name, long absent = 0)
    {
        JsonElement v = e.Get(name);
        return v.ValueKind == JsonValueKind.Number && v.TryGetInt64(out long n) ? n : absent;
    }

    public static bool Bool(this JsonElement e, string name, bool absent = false) => e.Get(name).ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => absent,
    };

    public static bool Has(this JsonElement e, string name) => e.Get(name).ValueKind is not (JsonValueKind.Undefined or JsonValueKind.Null);

    public static IEnumerable<JsonElement> Items(this JsonElement e, string name)
    {
        JsonElement v = e.Get(name);
        return v.ValueKind == JsonValueKind.Array ? v.EnumerateArray() : [];
    }

    public static IReadOnlyDictionary<string, string> TextMap(this JsonElement e, string name)
    {
        JsonElement v = e.Get(name);
        if (v.ValueKind != JsonValueKind.Object)
        {
            return EmptyMap;
        }

        Dictionary<string, string> map = new(StringComparer.Ordinal);
        foreach (JsonProperty p in v.EnumerateObject())
        {
            if (p.Value.ValueKind == JsonValueKind.String)
            {
                map[p.Name] = p.Value.GetString()!;
            }
        }

        return map;
    }

    private static readonly IReadOnlyDictionary<string, string> EmptyMap = new Dictionary<string, string>();
}

/// <summary>Nodes to bytes and back, with one set of options for all of Kapell.</summary>
public static class JsonBytes
{
    private static readonly JsonWriterOptions WriterOptions = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true, MaxDepth = 256,
    };

    private static readonly JsonDocumentOptions ParseOptions = new() { MaxDepth = 128 };

    public static byte[] Of(JsonNode node)
    {
        System.Buffers.ArrayBufferWriter<byte> buffer = new(512);
        using (Utf8JsonWriter writer = new(buffer, WriterOptions))
        {
            node.WriteTo(writer);
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <exception cref="JsonException">Not a JSON object, or nested deeper than 128.</exception>
    public static JsonObject ParseObject(ReadOnlySpan<byte> utf8) =>
        JsonNode.Parse(utf8, documentOptions: ParseOptions) as JsonObject ?? throw new JsonException("a JSON object is expected");
}

[System.Text.Json.Serialization.JsonSerializable(typeof(JsonElement))]
internal sealed partial class KubeObjectJson : System.Text.Json.Serialization.JsonSerializerContext;

using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.Registry;
using Kapell.Machinery;

namespace Kapell.ApiServer.Storage;

/// <summary>
/// One stored object as the cache holds it and the wire gets it: the JSON with its resourceVersion spliced in, and the little that
/// lists and watches decide by. Immutable; the JSON is never parsed again unless somebody asks.
/// </summary>
internal sealed class StoredObject
{
    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 128 };
    private readonly int _versionAt;
    private readonly int _versionLength;
    private View? _view;
    private FieldValues? _fields;

    private StoredObject(string key, long revision, byte[] json, int versionAt, int versionLength, IReadOnlyDictionary<string, string> labels)
    {
        Key = key;
        Revision = revision;
        Json = json;
        _versionAt = versionAt;
        _versionLength = versionLength;
        Labels = labels;
        int slash = key.LastIndexOf('/');
        Namespace = slash < 0 ? "" : key[..slash];
        Name = key[(slash + 1)..];
    }

    /// <summary>Below the resource's prefix: <c>namespace/name</c> or <c>name</c>.</summary>
    public string Key { get; }

    public string Namespace { get; }

    public string Name { get; }

    public long Revision { get; }

    /// <summary>The whole object, resourceVersion included.</summary>
    public byte[] Json { get; }

    public IReadOnlyDictionary<string, string> Labels { get; }

    /// <summary>For probing a sorted set: only the key counts.</summary>
    public static StoredObject Probe(string key) => new(key, 0, [], 0, 0, Empty);

    /// <param name="key">Below the resource's prefix.</param>
    /// <param name="value">The stored JSON, without resourceVersion.</param>
    /// <param name="revision">The key's mod revision.</param>
    /// <exception cref="JsonException">The value is no object with metadata: somebody else wrote it.</exception>
    public static StoredObject Read(string key, ReadOnlySpan<byte> value, long revision)
    {
        int at = FindMetadata(value, out bool empty, out IReadOnlyDictionary<string, string> labels);
        Span<byte> digits = stackalloc byte[20];
        Utf8Formatter.TryFormat(revision, digits, out int count);
        ReadOnlySpan<byte> before = "\"resourceVersion\":\""u8;
        ReadOnlySpan<byte> after = empty ? "\""u8 : "\","u8;
        byte[] json = new byte[value.Length + before.Length + count + after.Length];
        value[..at].CopyTo(json);
        int to = at;
        before.CopyTo(json.AsSpan(to));
        to += before.Length;
        digits[..count].CopyTo(json.AsSpan(to));
        int versionAt = to;
        to += count;
        after.CopyTo(json.AsSpan(to));
        to += after.Length;
        value[at..].CopyTo(json.AsSpan(to));
        return new StoredObject(key, revision, json, versionAt, count, labels);
    }

    /// <summary>An object that was only tried (dry-run create): no resourceVersion.</summary>
    public static StoredObject Unstored(string key, byte[] json) => new(key, 0, json, 0, 0, Empty);

    /// <summary>The same state under another resourceVersion (deletions carry the revision they happened at).</summary>
    public StoredObject At(long revision)
    {
        byte[] digits = Encoding.ASCII.GetBytes(revision.ToString(CultureInfo.InvariantCulture));
        byte[] json = new byte[Json.Length - _versionLength + digits.Length];
        Json.AsSpan(0, _versionAt).CopyTo(json);
        digits.CopyTo(json.AsSpan(_versionAt));
        Json.AsSpan(_versionAt + _versionLength).CopyTo(json.AsSpan(_versionAt + digits.Length));
        return new StoredObject(Key, revision, json, _versionAt, digits.Length, Labels);
    }

    /// <summary>As this resource shows it: itself, or converted when another group's resource is stored (events.k8s.io). Kept for the next reader.</summary>
    public StoredObject ViewFor(ResourceDefinition definition)
    {
        if (definition.FromStorage is not { } convert)
        {
            return this;
        }

        if (_view is { } known && ReferenceEquals(known.Definition, definition))
        {
            return known.Object;
        }

        JsonObject node = ToNode();
        convert(node);
        (node["metadata"] as JsonObject)?.Remove("resourceVersion");
        StoredObject view = Read(Key, JsonBytes.Of(node), Revision);
        _view = new View(definition, view);
        return view;
    }

    /// <summary>The value of a selectable field of this view; read from the JSON once for all askers.</summary>
    public string Field(ResourceDefinition definition, string name)
    {
        if (name == "metadata.name")
        {
            return Name;
        }

        if (name == "metadata.namespace")
        {
            return Namespace;
        }

        if (_fields is not { } known || !ReferenceEquals(known.Definition, definition))
        {
            using JsonDocument document = JsonDocument.Parse(Json, new JsonDocumentOptions { MaxDepth = 128 });
            JsonElement root = document.RootElement;
            known = new FieldValues(definition, definition.SelectableFields.ToDictionary(f => f.Key, f => f.Value(root), StringComparer.Ordinal));
            _fields = known;
        }

        return known.Fields.GetValueOrDefault(name, "");
    }

    public JsonObject ToNode() => JsonBytes.ParseObject(Json);

    public KubeObject ToKubeObject() => new(Json);

    private static readonly IReadOnlyDictionary<string, string> Empty = new Dictionary<string, string>();

    /// <summary>The offset just inside <c>metadata</c>'s brace.</summary>
    private static int FindMetadata(ReadOnlySpan<byte> value, out bool empty, out IReadOnlyDictionary<string, string> labels)
    {
        Utf8JsonReader reader = new(value, ReaderOptions);
        labels = Empty;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool metadata = reader.ValueTextEquals("metadata"u8);
            reader.Read();
            if (!metadata || reader.TokenType != JsonTokenType.StartObject)
            {
                reader.Skip();
                continue;
            }

            int at = (int)reader.BytesConsumed;
            reader.Read();
            empty = reader.TokenType == JsonTokenType.EndObject;
            while (reader.TokenType == JsonTokenType.PropertyName)
            {
                bool isLabels = reader.ValueTextEquals("labels"u8);
                reader.Read();
                if (isLabels && reader.TokenType == JsonTokenType.StartObject)
                {
                    labels = ReadLabels(ref reader);
                }
                else
                {
                    reader.Skip();
                }

                reader.Read();
            }

            return at;
        }

        throw new JsonException("the stored value has no metadata");
    }

    private static Dictionary<string, string> ReadLabels(ref Utf8JsonReader reader)
    {
        Dictionary<string, string> labels = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (reader.TokenType == JsonTokenType.String)
            {
                labels[name] = reader.GetString()!;
            }
            else
            {
                reader.Skip();
            }
        }

        return labels;
    }

    /// <summary>References, so that readers on other threads see one whole.</summary>
    private sealed record View(ResourceDefinition Definition, StoredObject Object);

    private sealed record FieldValues(ResourceDefinition Definition, IReadOnlyDictionary<string, string> Fields);
}

using System.Collections.Frozen;
using System.Text.Json;

namespace Kapell.Machinery.Schemas;

/// <summary>All types the program knows, as tools/Kapell.SchemaGen wrote them. Immutable.</summary>
public sealed class SchemaSet
{
    private FrozenDictionary<string, TypeSchema> _types = FrozenDictionary<string, TypeSchema>.Empty;
    private FrozenDictionary<GroupVersionKind, TypeSchema> _kinds = FrozenDictionary<GroupVersionKind, TypeSchema>.Empty;

    private SchemaSet()
    {
    }

    /// <summary>By name: <c>io.k8s.api.core.v1.Pod</c>.</summary>
    public IReadOnlyDictionary<string, TypeSchema> Types => _types;

    /// <summary>Reads the document <c>{"types": {...}}</c>.</summary>
    /// <exception cref="JsonException">Not such a document.</exception>
    public static SchemaSet Read(ReadOnlyMemory<byte> utf8)
    {
        SchemaSet set = new();
        using JsonDocument document = JsonDocument.Parse(utf8);
        Dictionary<string, TypeSchema> types = new(StringComparer.Ordinal);
        foreach (JsonProperty type in document.RootElement.GetProperty("types").EnumerateObject())
        {
            types[type.Name] = set.ReadType(type.Name, type.Value);
        }

        set._types = types.ToFrozenDictionary(StringComparer.Ordinal);
        set._kinds = types.Values.Where(t => t.Kind is not null).ToFrozenDictionary(t => t.Kind!.Value);
        return set;
    }

    /// <exception cref="KeyNotFoundException">No such type.</exception>
    public TypeSchema Get(string name) =>
        _types.TryGetValue(name, out TypeSchema? type) ? type : throw new KeyNotFoundException($"no type {name} in the embedded schema");

    public TypeSchema? Find(string name) => _types.GetValueOrDefault(name);

    public TypeSchema? Find(GroupVersionKind kind) => _kinds.GetValueOrDefault(kind);

    private TypeSchema ReadType(string name, JsonElement type)
    {
        string package = string.Join('.', name.Split('.')[..^1]);
        GroupVersionKind? kind = type.Has("kind") ? new GroupVersionKind(type.Text("group"), type.Text("version"), type.Text("kind")) : null;
        FieldSchema[] fields = [.. type.GetProperty("fields").EnumerateObject().Select(f => ReadField(f.Name, f.Value, package))];
        return new TypeSchema(name, type.Text("description"), type.Bool("atomic"), kind, fields);
    }

    private FieldSchema ReadField(string name, JsonElement field, string package)
    {
        string list = field.Text("list");
        string keys = field.Text("keys");
        string strategy = field.Text("strategy");
        return new FieldSchema
        {
            Name = name,
            Value = Shape(field.Text("type"), field.Text("go"), package),
            Description = field.Text("description"),
            Required = field.Get("required").ValueKind == JsonValueKind.String,
            PatchStrategy = strategy.Length == 0 ? [] : strategy.Split(','),
            PatchMergeKey = field.Text("key"),
            ListType = list switch { "set" => ListType.Set, "map" => ListType.Map, _ => ListType.Atomic },
            HasListType = list.Length > 0,
            ListMapKeys = keys.Length == 0 ? [] : keys.Split(','),
            Atomic = field.Text("map") == "atomic" || field.Text("struct") == "atomic",
            AlwaysThere = field.Get("value").ValueKind == JsonValueKind.String || (name == "metadata" && !field.Text("type").Contains(':', StringComparison.Ordinal)),
            DefaultJson = field.Text("default"),
            Wire = WirePlace.Parse(field.Text("wire")),
        };
    }

    private ValueSchema Shape(string shape, string goName, string package)
    {
        if (shape.StartsWith("list:", StringComparison.Ordinal))
        {
            ValueSchema items = Shape(shape[5..], goName, package);
            return new ValueSchema(ValueKind.List, items, null, "[]" + items.GoName);
        }

        if (shape.StartsWith("map:", StringComparison.Ordinal))
        {
            ValueSchema items = Shape(shape[4..], goName, package);
            return new ValueSchema(ValueKind.Map, items, null, "map[string]" + items.GoName);
        }

        ValueSchema Plain(ValueKind kind, string go) => new(kind, null, null, goName.Length == 0 ? go : goName.Contains('.', StringComparison.Ordinal) ? goName : "v1." + goName);
        return shape switch
        {
            "text" => Plain(ValueKind.Text, "string"),
            "int32" => Plain(ValueKind.Int32, "int32"),
            "int64" => Plain(ValueKind.Int64, "int64"),
            "bool" => Plain(ValueKind.Boolean, "bool"),
            "double" => Plain(ValueKind.Double, "float64"),
            "bytes" => Plain(ValueKind.Bytes, "[]uint8"),
            "time" => Plain(ValueKind.Time, "v1.Time"),
            "microTime" => Plain(ValueKind.MicroTime, "v1.MicroTime"),
            "quantity" => new ValueSchema(ValueKind.Quantity, null, null, "resource.Quantity"),
            "intOrString" => Plain(ValueKind.IntOrString, "intstr.IntOrString"),
            "raw" => Plain(ValueKind.Raw, "runtime.RawExtension"),
            _ => new ValueSchema(ValueKind.Object, null, () => Get(shape), GoTypeName(shape)),
        };
    }

    // Go prints the package's last name: v1.DeploymentSpec.
    private static string GoTypeName(string name)
    {
        string[] parts = name.Split('.');
        return parts[^2] + "." + parts[^1];
    }
}

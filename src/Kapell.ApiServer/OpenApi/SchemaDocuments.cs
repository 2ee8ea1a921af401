using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;
using ValueKind = Kapell.Machinery.Schemas.ValueKind;

namespace Kapell.ApiServer.OpenApi;

/// <summary>Types as OpenAPI schemas (kube-openapi's shapes), for version 2 (<c>definitions</c>) or 3 (<c>components.schemas</c>).</summary>
internal sealed class SchemaDocuments(SchemaSet schemas, bool three)
{
    private const string Quantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
    private const string IntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    private const string Time = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
    private const string MicroTime = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
    private const string RawExtension = "io.k8s.apimachinery.pkg.runtime.RawExtension";

    /// <summary>The body of PATCH requests in every format.</summary>
    public const string Patch = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

    private readonly string _prefix = three ? "#/components/schemas/" : "#/definitions/";

    public bool Knows(string name) => schemas.Find(name) is not null;

    public JsonObject Ref(string name) => new() { ["$ref"] = _prefix + name };

    /// <summary>The named types and all they lead to, in order of their names.</summary>
    public JsonObject Closure(IEnumerable<string> roots)
    {
        SortedDictionary<string, JsonObject> found = new(StringComparer.Ordinal);
        Queue<string> waiting = new(roots);
        while (waiting.TryDequeue(out string? name))
        {
            if (found.ContainsKey(name))
            {
                continue;
            }

            if (Known(name) is { } known)
            {
                found[name] = known;
            }
            else if (schemas.Find(name) is { } type)
            {
                found[name] = Object(type, waiting);
            }
        }

        return new JsonObject(found.Select(f => KeyValuePair.Create(f.Key, (JsonNode?)f.Value)));
    }

    private JsonObject? Known(string name) => name switch
    {
        Quantity => three
            ? new JsonObject { ["oneOf"] = new JsonArray(new JsonObject { ["type"] = "string" }, new JsonObject { ["type"] = "number" }) }
            : new JsonObject { ["type"] = "string" },
        IntOrString => three
            ? new JsonObject
            {
                ["format"] = "int-or-string",
                ["oneOf"] = new JsonArray(new JsonObject { ["type"] = "integer" }, new JsonObject { ["type"] = "string" }),
            }
            : new JsonObject { ["type"] = "string", ["format"] = "int-or-string" },
        Time or MicroTime => new JsonObject { ["type"] = "string", ["format"] = "date-time" },
        RawExtension or Patch => new JsonObject { ["type"] = "object" },
        _ => null,
    };

    private JsonObject Object(TypeSchema type, Queue<string> waiting)
    {
        JsonObject schema = [];
        if (type.Description.Length > 0)
        {
            schema["description"] = type.Description;
        }

        JsonObject properties = [];
        JsonArray required = [];
        foreach (FieldSchema field in type.Fields)
        {
            properties[field.Name] = Field(field, waiting);
            if (field.Required)
            {
                required.Add((JsonNode)field.Name);
            }
        }

        schema["type"] = "object";
        if (required.Count > 0)
        {
            schema["required"] = required;
        }

        if (properties.Count > 0)
        {
            schema["properties"] = properties;
        }

        if (type.Kind is { } kind)
        {
            schema["x-kubernetes-group-version-kind"] = new JsonArray(
                new JsonObject { ["group"] = kind.Group, ["kind"] = kind.Kind, ["version"] = kind.Version });
        }

        if (type.Atomic)
        {
            schema["x-kubernetes-map-type"] = "atomic";
        }

        return schema;
    }

    private JsonObject Field(FieldSchema field, Queue<string> waiting)
    {
        JsonObject shape = Value(field.Value, waiting);
        JsonObject schema = [];
        if (field.Description.Length > 0)
        {
            schema["description"] = field.Description;
        }

        // In version 3 a reference may have no neighbours: it stands in an allOf.
        if (three && shape.ContainsKey("$ref"))
        {
            schema["allOf"] = new JsonArray(shape);
        }
        else
        {
            foreach ((string name, JsonNode? value) in shape)
            {
                schema[name] = value?.DeepClone();
            }
        }

        if (field.DefaultJson.Length > 0)
        {
            schema["default"] = JsonNode.Parse(field.DefaultJson);
        }

        if (field.HasListType)
        {
            schema["x-kubernetes-list-type"] = field.ListType switch { ListType.Map => "map", ListType.Set => "set", _ => "atomic" };
        }

        if (field.ListMapKeys.Count > 0)
        {
            schema["x-kubernetes-list-map-keys"] = new JsonArray([.. field.ListMapKeys.Select(k => (JsonNode)k)]);
        }

        if (field.Atomic)
        {
            schema["x-kubernetes-map-type"] = "atomic";
        }

        if (field.PatchMergeKey.Length > 0)
        {
            schema["x-kubernetes-patch-merge-key"] = field.PatchMergeKey;
        }

        if (field.PatchStrategy.Count > 0)
        {
            schema["x-kubernetes-patch-strategy"] = string.Join(',', field.PatchStrategy);
        }

        return schema;
    }

    private JsonObject Value(ValueSchema value, Queue<string> waiting)
    {
        string? name = value.Kind switch
        {
            ValueKind.Object => value.Type!.Name,
            ValueKind.Quantity => Quantity,
            ValueKind.IntOrString => IntOrString,
            ValueKind.Time => Time,
            ValueKind.MicroTime => MicroTime,
            ValueKind.Raw => RawExtension,
            _ => null,
        };
        if (name is not null)
        {
            waiting.Enqueue(name);
            return Ref(name);
        }

        return value.Kind switch
        {
            ValueKind.List => new JsonObject { ["type"] = "array", ["items"] = Value(value.Items!, waiting) },
            ValueKind.Map => new JsonObject { ["type"] = "object", ["additionalProperties"] = Value(value.Items!, waiting) },
            ValueKind.Int32 => new JsonObject { ["type"] = "integer", ["format"] = "int32" },
            ValueKind.Int64 => new JsonObject { ["type"] = "integer", ["format"] = "int64" },
            ValueKind.Double => new JsonObject { ["type"] = "number", ["format"] = "double" },
            ValueKind.Boolean => new JsonObject { ["type"] = "boolean" },
            ValueKind.Bytes => new JsonObject { ["type"] = "string", ["format"] = "byte" },
            _ => new JsonObject { ["type"] = "string" },
        };
    }
}

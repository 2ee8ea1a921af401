using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>Small edits of documents that controllers share.</summary>
internal static class Documents
{
    /// <summary>The child object, made when it is not there.</summary>
    public static JsonObject Child(this JsonObject json, string name)
    {
        if (json[name] is JsonObject child)
        {
            return child;
        }

        child = new JsonObject();
        json[name] = child;
        return child;
    }

    /// <summary>Go's omitempty: zero is left out.</summary>
    public static void SetOrRemove(this JsonObject json, string name, long value)
    {
        if (value == 0)
        {
            json.Remove(name);
        }
        else
        {
            json[name] = value;
        }
    }

    public static void SetOrRemove(this JsonObject json, string name, string value)
    {
        if (value.Length == 0)
        {
            json.Remove(name);
        }
        else
        {
            json[name] = value;
        }
    }

    public static JsonNode? Node(this JsonElement e) =>
        e.ValueKind is JsonValueKind.Undefined or JsonValueKind.Null ? null : JsonNode.Parse(e.GetRawText());

    public static JsonObject Object(this JsonElement e) => e.Node() as JsonObject ?? new JsonObject();

    public static JsonObject Map(IEnumerable<KeyValuePair<string, string>> map)
    {
        JsonObject json = new();
        foreach ((string key, string value) in map)
        {
            json[key] = value;
        }

        return json;
    }

    /// <summary>A document with nulls dropped and names in order, for comparing and hashing.</summary>
    public static JsonNode? Canonical(JsonNode? node) => node switch
    {
        JsonObject o => new JsonObject(o.Where(p => p.Value is not null).OrderBy(p => p.Key, StringComparer.Ordinal)
            .Select(p => KeyValuePair.Create(p.Key, Canonical(p.Value)))),
        JsonArray a => new JsonArray([.. a.Select(Canonical)]),
        _ => node?.DeepClone(),
    };
}

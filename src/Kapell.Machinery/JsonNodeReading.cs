using System.Globalization;
using System.Text.Json.Nodes;

namespace Kapell.Machinery;

/// <summary>
/// Tolerant reading of mutable nodes, the twin of <see cref="JsonElementReading"/>: what is absent or of another type reads as
/// empty. Numbers read the same whether they were parsed or set from code (System.Text.Json keeps those apart).
/// </summary>
public static class JsonNodeReading
{
    public static JsonObject? Object(this JsonNode? node, string name) => (node as JsonObject)?[name] as JsonObject;

    public static JsonArray? Array(this JsonNode? node, string name) => (node as JsonObject)?[name] as JsonArray;

    public static string Text(this JsonNode? node, string name) => (node as JsonObject)?[name].AsText() ?? "";

    public static long Long(this JsonNode? node, string name, long absent = 0) => (node as JsonObject)?[name].AsLong() ?? absent;

    public static bool Bool(this JsonNode? node, string name, bool absent = false) => (node as JsonObject)?[name].AsBool() ?? absent;

    /// <summary>The object of this name, made when absent.</summary>
    public static JsonObject ObjectOrNew(this JsonObject node, string name)
    {
        if (node[name] is JsonObject found)
        {
            return found;
        }

        JsonObject made = [];
        node[name] = made;
        return made;
    }

    public static string? AsText(this JsonNode? node) => node is JsonValue v && v.TryGetValue(out string? s) ? s : null;

    public static bool? AsBool(this JsonNode? node) => node is JsonValue v && v.TryGetValue(out bool b) ? b : null;

    public static long? AsLong(this JsonNode? node)
    {
        if (node is not JsonValue value)
        {
            return null;
        }

        return value.TryGetValue(out long n) ? n
            : value.TryGetValue(out int i) ? i
            : value.GetValueKind() == System.Text.Json.JsonValueKind.Number
                && long.TryParse(value.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out n) ? n
            : null;
    }
}

using System.Text.Json.Nodes;

namespace Kapell.Machinery.Patches;

/// <summary>JSON as Go's %v prints it, which upstream's messages show: <c>map[name:web ports:[1 2]]</c>.</summary>
public static class GoText
{
    /// <summary>The same for a text; of a name that stands twice the last counts.</summary>
    /// <exception cref="StatusException">BadRequest: not JSON.</exception>
    public static string OfJson(ReadOnlyMemory<byte> utf8) => Of(PatchBody.Parse(utf8, "invalid JSON document"));

    public static string Of(JsonNode? node) => node switch
    {
        null => "<nil>",
        JsonObject o => "map[" + string.Join(' ', o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => p.Key + ":" + Of(p.Value))) + "]",
        JsonArray a => "[" + string.Join(' ', a.Select(Of)) + "]",
        _ => node.AsText() ?? node.ToJsonString(),
    };
}

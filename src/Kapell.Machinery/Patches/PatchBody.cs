using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kapell.Machinery.Patches;

/// <summary>Bytes of a patch to nodes, bounded in size and depth, duplicates refused by taking the last.</summary>
internal static class PatchBody
{
    /// <exception cref="StatusException">BadRequest: not a JSON object.</exception>
    public static JsonObject Object(ReadOnlyMemory<byte> utf8) => Parse(utf8, "invalid JSON document") as JsonObject ?? throw Bad("invalid JSON document");

    public static JsonNode? Parse(ReadOnlyMemory<byte> utf8, string words)
    {
        if (utf8.Length > Decoding.ObjectDecoder.BytesMax)
        {
            throw new StatusException(Status.TooLarge($"Request entity too large: limit is {Decoding.ObjectDecoder.BytesMax}"));
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = Decoding.ObjectDecoder.DepthMax });
            return Copy(document.RootElement);
        }
        catch (JsonException)
        {
            throw Bad(words);
        }
        catch (InvalidOperationException)
        {
            // A string or name that is not valid Unicode.
            throw Bad(words);
        }
    }

    public static StatusException Bad(string words) => new(Status.BadRequest(words));

    // JsonNode.Parse is lazy and throws on duplicate names when first touched; this copy takes the last, as Go does.
    private static JsonNode? Copy(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                JsonObject result = [];
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    result[property.Name] = Copy(property.Value);
                }

                return result;
            case JsonValueKind.Array:
                JsonArray list = [];
                foreach (JsonElement item in element.EnumerateArray())
                {
                    list.Add(Copy(item));
                }

                return list;
            case JsonValueKind.String:
                return JsonValue.Create(element.GetString());
            case JsonValueKind.Null:
                return null;
            default:
                return JsonValue.Create(element.Clone());
        }
    }
}

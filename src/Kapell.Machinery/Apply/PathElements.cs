using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Apply;

/// <summary>Path elements in their written form, and paths in the form that messages show.</summary>
internal static class PathElements
{
    public static string Field(string name) => "f:" + name;

    /// <summary>
    /// What identifies an item of a set or keyed list. Absent keys take the schema's default (a port's protocol is TCP); a key that
    /// has none is left out (<paramref name="missingKey"/> names it).
    /// </summary>
    public static string OfItem(JsonNode? item, FieldSchema list, out string? missingKey)
    {
        missingKey = null;
        if (list.ListType == ListType.Set)
        {
            return "v:" + Text(item);
        }

        JsonObject key = [];
        foreach (string name in list.ListMapKeys.Order(StringComparer.Ordinal))
        {
            JsonNode? value = (item as JsonObject)?[name];
            if (value is null && list.Value.Items?.Type?.Field(name) is { DefaultJson.Length: > 0 } field)
            {
                value = JsonNode.Parse(field.DefaultJson);
            }

            if (value is null)
            {
                missingKey = name;
            }
            else
            {
                key[name] = value.DeepClone();
            }
        }

        return "k:" + Text(key);
    }

    /// <summary>The one written form of an element read from FieldsV1, or null when it is none.</summary>
    public static string? Normalize(string element)
    {
        if (element.Length < 2 || element[1] != ':')
        {
            return null;
        }

        try
        {
            return element[0] switch
            {
                'f' => element,
                'i' => int.TryParse(element.AsSpan(2), out _) ? element : null,
                'v' => "v:" + Text(JsonNode.Parse(element[2..])),
                'k' => JsonNode.Parse(element[2..]) is JsonObject o
                    ? "k:" + Text(new JsonObject(o.OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => KeyValuePair.Create(p.Key, p.Value?.DeepClone()))))
                    : null,
                _ => null,
            };
        }
        catch (JsonException)
        {
            return null;
        }
        catch (ArgumentException)
        {
            // A name twice in a key.
            return null;
        }
    }

    /// <summary><c>.spec.template.spec.containers[name="web"].image</c>.</summary>
    public static string Show(IReadOnlyList<string> path)
    {
        StringBuilder text = new();
        foreach (string element in path)
        {
            string rest = element[2..];
            text.Append(element[0] switch
            {
                'f' => "." + rest,
                'v' => "[=" + rest + "]",
                'i' => "[" + rest + "]",
                _ => "[" + string.Join(',', ((JsonObject)JsonNode.Parse(rest)!).Select(p => p.Key + "=" + Text(p.Value))) + "]",
            });
        }

        return text.ToString();
    }

    private static string Text(JsonNode? node) => node is null ? "null" : Encoding.UTF8.GetString(JsonBytes.Of(node));
}

using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kapell.ApiServer.Registry;

/// <summary>
/// Terse reading and changing of JSON objects. A null value reads as an absent field, as it does for upstream's decoder; a value
/// of another type than asked for reads as absent too, since strict decoding has already refused it.
/// </summary>
internal static class JsonNodes
{
    public static JsonObject? Obj(this JsonObject? o, string name) => o?[name] as JsonObject;

    public static JsonObject? Obj(this JsonObject? o, params ReadOnlySpan<string> path)
    {
        foreach (string name in path)
        {
            o = o.Obj(name);
        }

        return o;
    }

    public static JsonArray? Arr(this JsonObject? o, string name) => o?[name] as JsonArray;

    public static bool Has(this JsonObject? o, string name) => o?[name] is not null;

    public static bool HasItems(this JsonObject? o, string name) => o.Arr(name) is { Count: > 0 };

    public static string Text(this JsonObject? o, string name) => o?[name].AsText() ?? "";

    public static long? Long(this JsonObject? o, string name) => o?[name].AsLong();

    public static bool? Bool(this JsonObject? o, string name) =>
        o?[name] is JsonValue v ? v.GetValueKind() switch { JsonValueKind.True => true, JsonValueKind.False => false, _ => null } : null;

    public static string? AsText(this JsonNode? node) => node is JsonValue v && v.TryGetValue(out string? text) ? text : null;

    public static long? AsLong(this JsonNode? node)
    {
        if (node is not JsonValue v || v.GetValueKind() != JsonValueKind.Number)
        {
            return null;
        }

        return v.TryGetValue(out long big) ? big
            : v.TryGetValue(out int small) ? small
            : long.TryParse(v.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long parsed) ? parsed
            : null;
    }

    /// <summary>The objects of an array, with nothing for an absent array. An item that is no object is passed over.</summary>
    public static IEnumerable<JsonObject> Items(this JsonObject? o, string name)
    {
        foreach (JsonNode? item in o.Arr(name) ?? [])
        {
            if (item is JsonObject itemObject)
            {
                yield return itemObject;
            }
        }
    }

    public static IEnumerable<string> Texts(this JsonObject? o, string name)
    {
        foreach (JsonNode? item in o.Arr(name) ?? [])
        {
            yield return item.AsText() ?? "";
        }
    }

    public static Dictionary<string, string> TextMap(this JsonObject? o, string name)
    {
        Dictionary<string, string> map = new(StringComparer.Ordinal);
        foreach ((string key, JsonNode? value) in o.Obj(name) ?? [])
        {
            map[key] = value.AsText() ?? "";
        }

        return map;
    }

    /// <summary>The object under a name, made when absent.</summary>
    public static JsonObject Ensure(this JsonObject o, string name)
    {
        if (o[name] is JsonObject there)
        {
            return there;
        }

        JsonObject made = [];
        o[name] = made;
        return made;
    }

    /// <summary>Sets a field that is absent or null.</summary>
    public static void Default(this JsonObject o, string name, string value)
    {
        if (o[name] is null)
        {
            o[name] = JsonValue.Create(value);
        }
    }

    public static void Default(this JsonObject o, string name, long value)
    {
        if (o[name] is null)
        {
            o[name] = JsonValue.Create(value);
        }
    }

    public static void Default(this JsonObject o, string name, bool value)
    {
        if (o[name] is null)
        {
            o[name] = JsonValue.Create(value);
        }
    }

    /// <summary>Sets a text field that is absent or empty: for fields that are plain strings upstream, where empty means unset.</summary>
    public static void DefaultText(this JsonObject o, string name, string value)
    {
        if (o.Text(name).Length == 0)
        {
            o[name] = JsonValue.Create(value);
        }
    }

    /// <summary>Makes a field what it is in another object, absent when it is absent there.</summary>
    public static void TakeFrom(this JsonObject o, string name, JsonObject other)
    {
        if (other[name] is { } value)
        {
            o[name] = value.DeepClone();
        }
        else
        {
            o.Remove(name);
        }
    }

    /// <summary>
    /// Whether two values mean the same: absent, null and an empty list are one; an empty object is not, as it is a set pointer
    /// upstream (<c>emptyDir: {}</c>). Order of fields does not matter (apimachinery: equality.Semantic).
    /// </summary>
    public static bool SameAs(this JsonNode? a, JsonNode? b)
    {
        if (IsNothing(a) || IsNothing(b))
        {
            return IsNothing(a) && IsNothing(b);
        }

        return (a, b) switch
        {
            (JsonObject x, JsonObject y) => SameFields(x, y),
            (JsonArray x, JsonArray y) => x.Count == y.Count && x.Zip(y).All(p => p.First.SameAs(p.Second)),
            _ => a.AsLong() is { } n ? n == b.AsLong() : JsonNode.DeepEquals(a, b),
        };
    }

    private static bool SameFields(JsonObject a, JsonObject b)
    {
        foreach ((string name, JsonNode? value) in a)
        {
            if (!value.SameAs(b[name]))
            {
                return false;
            }
        }

        foreach ((string name, JsonNode? value) in b)
        {
            if (!a.ContainsKey(name) && !IsNothing(value))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsNothing(JsonNode? node) => node is null or JsonArray { Count: 0 };
}

using System.Text.Json.Nodes;

namespace Kapell.Machinery.Patches;

/// <summary>JSON merge patch (RFC 7386). Never changes or keeps a node it is given.</summary>
public static class MergePatch
{
    /// <param name="target">As parsed: its depth is bounded by the parser, and so is the recursion here.</param>
    public static JsonNode? Apply(JsonNode? target, JsonNode? patch)
    {
        if (patch is not JsonObject changes)
        {
            return patch?.DeepClone();
        }

        JsonObject result = target is JsonObject ? (JsonObject)target.DeepClone() : [];
        Merge(result, changes);
        return result;
    }

    /// <exception cref="StatusException">BadRequest: the patch is not a JSON object.</exception>
    public static JsonObject Apply(JsonObject target, ReadOnlyMemory<byte> patch) =>
        (JsonObject)Apply(target, (JsonNode)PatchBody.Object(patch))!;

    /// <summary>The smallest patch that makes <paramref name="to"/> of <paramref name="from"/>; objects that hold nulls cannot be expressed.</summary>
    public static JsonObject Diff(JsonObject from, JsonObject to)
    {
        JsonObject patch = [];
        foreach ((string name, JsonNode? value) in to)
        {
            JsonNode? old = from[name];
            if (old is JsonObject a && value is JsonObject b)
            {
                JsonObject inner = Diff(a, b);
                if (inner.Count > 0)
                {
                    patch[name] = inner;
                }
            }
            else if (!from.ContainsKey(name) || !JsonNode.DeepEquals(old, value))
            {
                patch[name] = value?.DeepClone();
            }
        }

        foreach ((string name, _) in from)
        {
            if (!to.ContainsKey(name))
            {
                patch[name] = null;
            }
        }

        return patch;
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        foreach ((string name, JsonNode? value) in patch)
        {
            if (value is null)
            {
                target.Remove(name);
            }
            else if (value is JsonObject changes)
            {
                if (target[name] is not JsonObject inner)
                {
                    target[name] = inner = [];
                }

                Merge(inner, changes);
            }
            else
            {
                target[name] = value.DeepClone();
            }
        }
    }
}

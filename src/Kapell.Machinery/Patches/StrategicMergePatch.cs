using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Patches;

/// <summary>
/// Strategic merge patch: objects merge, lists merge by the schema's keys where it says so, directives steer
/// (<c>$patch</c>, <c>$deleteFromPrimitiveList/x</c>, <c>$setElementOrder/x</c>, <c>$retainKeys</c>). Behaviour and words:
/// apimachinery strategicpatch. Works on copies; depth is bounded by the parser's.
/// </summary>
public static class StrategicMergePatch
{
    private const string Directive = "$patch";
    private const string RetainKeys = "$retainKeys";
    private const string DeletePrefix = "$deleteFromPrimitiveList/";
    private const string OrderPrefix = "$setElementOrder/";
    private const string BadOrder = "invalid patch format of setElementOrder list";
    private const string BadRetain = "invalid patch format of retainKeys";

    /// <exception cref="StatusException">BadRequest: not an object, or a directive that makes no sense.</exception>
    public static JsonObject Apply(JsonObject target, ReadOnlyMemory<byte> patch, TypeSchema schema) =>
        Apply(target, PatchBody.Object(patch), schema);

    public static JsonObject Apply(JsonObject target, JsonObject patch, TypeSchema schema) =>
        Merge((JsonObject)target.DeepClone(), (JsonObject)patch.DeepClone(), schema.OpenValue);

    /// <param name="original">A copy of ours, changed in place; the result may be it or the patch.</param>
    private static JsonObject Merge(JsonObject original, JsonObject patch, ValueSchema schema)
    {
        if (patch.TryGetPropertyValue(Directive, out JsonNode? directive))
        {
            patch.Remove(Directive);
            return directive.AsText() switch
            {
                "replace" => patch,
                "delete" => [],
                _ => throw UnknownDirective(directive, patch),
            };
        }

        ApplyRetainKeys(original, patch);
        ApplyElementOrders(original, patch, schema);
        foreach ((string name, JsonNode? _) in patch.ToArray())
        {
            JsonNode? value = Take(patch, name);
            if (name.StartsWith(DeletePrefix, StringComparison.Ordinal))
            {
                DeleteFromList(original, name[DeletePrefix.Length..], value);
            }
            else if (value is null)
            {
                original.Remove(name);
            }
            else
            {
                MergeField(original, name, value, Part(schema, name));
            }
        }

        return original;
    }

    private static void MergeField(JsonObject original, string name, JsonNode value, FieldPart field)
    {
        JsonNode? old = original[name];
        if (old is JsonObject o && value is JsonObject changes)
        {
            original.Remove(name);
            original[name] = field.Schema?.PatchStrategy.Contains("replace") == true ? changes : Merge(o, changes, field.Value);
        }
        else if (old is JsonArray a && value is JsonArray list)
        {
            original.Remove(name);
            original[name] = field.Schema?.Merges == true ? MergeList(a, list, field) : list;
        }
        else if (Clean(value, out JsonNode? clean))
        {
            original[name] = clean;
        }
        else
        {
            original.Remove(name);
        }
    }

    private static JsonArray MergeList(JsonArray original, JsonArray patch, FieldPart field)
    {
        if (original.Count == 0 && patch.Count == 0)
        {
            return original;
        }

        List<JsonNode?> before = Drain(original);
        List<JsonNode?> changes = Drain(patch);
        if (!OfObjects(before, changes))
        {
            List<JsonNode?> union = [];
            foreach (JsonNode? item in before.Concat(changes))
            {
                if (!union.Exists(u => JsonNode.DeepEquals(u, item)))
                {
                    union.Add(item);
                }
            }

            return Ordered(union, changes, before, "");
        }

        string key = field.Schema!.PatchMergeKey;
        if (key.Length == 0)
        {
            throw PatchBody.Bad($"cannot merge lists without merge key for {field.Value.Items?.Type?.GoName}");
        }

        (List<JsonNode?> kept, changes) = ApplyItemDirectives(before, changes, key);
        List<JsonNode?> order = [.. kept];
        foreach (JsonNode? change in changes)
        {
            int at = kept.FindIndex(k => SameKey(k, change, key));
            if (at >= 0)
            {
                JsonObject merged = Merge((JsonObject)kept[at]!, (JsonObject)change!.DeepClone(), field.Value.Items!);
                kept[at] = merged;
                if (at < order.Count)
                {
                    order[at] = merged;
                }
            }
            else
            {
                kept.Add(change);
            }
        }

        return Ordered(kept, changes, order, key);
    }

    private static (List<JsonNode?> Kept, List<JsonNode?> Changes) ApplyItemDirectives(List<JsonNode?> before, List<JsonNode?> patch, string key)
    {
        List<JsonNode?> changes = [];
        bool replace = false;
        foreach (JsonNode? node in patch)
        {
            JsonObject item = (JsonObject)node!;
            if (!item.ContainsKey(Directive))
            {
                RequireKey(item, key);
                changes.Add(item);
                continue;
            }

            switch (item[Directive].AsText())
            {
                case "delete":
                    RequireKey(item, key);
                    before = before.FindAll(b => !SameKey(b, item, key));
                    break;
                case "replace":
                    replace = true;
                    break;
                case "merge":
                    throw PatchBody.Bad("merging lists cannot yet be specified in the patch");
                default:
                    throw UnknownDirective(item[Directive], item);
            }
        }

        return replace ? (changes, []) : (before, changes);
    }

    // Items named by the patch in its order, the others in the server's, interleaved as they stood (mergeSortedSlice).
    private static JsonArray Ordered(List<JsonNode?> merged, List<JsonNode?> patchOrder, List<JsonNode?> serverOrder, string key)
    {
        int IndexIn(List<JsonNode?> list, JsonNode? item) =>
            list.FindIndex(l => key.Length == 0 ? JsonNode.DeepEquals(l, item) : SameKey(l, item, key));

        List<JsonNode?> mine = [.. merged.Where(m => IndexIn(patchOrder, m) >= 0).OrderBy(m => IndexIn(patchOrder, m))];
        List<JsonNode?> others = [.. merged.Where(m => IndexIn(patchOrder, m) < 0).OrderBy(m => (uint)IndexIn(serverOrder, m))];
        JsonArray result = [];
        int other = 0;
        foreach (JsonNode? item in mine)
        {
            int place = IndexIn(serverOrder, item);
            while (place >= 0 && other < others.Count && IndexIn(serverOrder, others[other]) is >= 0 and var before && before < place)
            {
                result.Add(others[other++]);
            }

            result.Add(item);
        }

        while (other < others.Count)
        {
            result.Add(others[other++]);
        }

        return result;
    }

    private static void ApplyElementOrders(JsonObject original, JsonObject patch, ValueSchema schema)
    {
        foreach (string directive in patch.Select(p => p.Key).Where(k => k.StartsWith(OrderPrefix, StringComparison.Ordinal)).ToArray())
        {
            string name = directive[OrderPrefix.Length..];
            if (Take(patch, directive) is not JsonArray orderList)
            {
                throw PatchBody.Bad(BadOrder);
            }

            List<JsonNode?> order = Drain(orderList);
            JsonArray? old = ListOrNone(original, name);
            JsonArray? changes = ListOrNone(patch, name);
            patch.Remove(name);
            FieldPart field = Part(schema, name);
            string key = field.Schema?.PatchMergeKey ?? "";
            if (changes is not null)
            {
                CheckOrder(changes, order, key);
            }

            if (old is null && changes is null)
            {
                continue;
            }

            original.Remove(name);
            List<JsonNode?> server = old is null ? [] : [.. old.Select(o => o?.DeepClone())];
            JsonArray merged = old is null
                ? Clean(changes!, out JsonNode? clean) ? (JsonArray)clean! : []
                : changes is null ? old
                : field.Schema?.Merges == true ? MergeList(old, changes, field) : changes;
            if (key.Length > 0)
            {
                foreach (JsonNode? item in merged.Concat(order))
                {
                    RequireKey(item as JsonObject ?? throw PatchBody.Bad("expected a map, but received a list item of another kind"), key);
                }
            }

            original[name] = Ordered(Drain(merged), order, server, key);
        }
    }

    // What the patch names must stand in the order list, in the same order (deletions aside).
    private static void CheckOrder(JsonArray changes, List<JsonNode?> order, string key)
    {
        if (order.Count == 0 || changes.Count == 0)
        {
            return;
        }

        int at = 0;
        foreach (JsonNode? item in changes)
        {
            if (item is JsonObject o && o.ContainsKey(Directive))
            {
                continue;
            }

            if (key.Length > 0)
            {
                RequireKey(item as JsonObject ?? throw PatchBody.Bad(BadOrder), key);
            }

            while (at < order.Count && !(key.Length == 0 ? JsonNode.DeepEquals(order[at], item) : SameKey(order[at], item, key)))
            {
                at++;
            }

            if (at++ >= order.Count)
            {
                throw PatchBody.Bad($"The order in patch list:\n{changes.ToJsonString()}\n doesn't match $setElementOrder list:\n[{string.Join(' ', order)}]\n");
            }
        }
    }

    private static void ApplyRetainKeys(JsonObject original, JsonObject patch)
    {
        if (!patch.ContainsKey(RetainKeys))
        {
            return;
        }

        if (Take(patch, RetainKeys) is not JsonArray list)
        {
            throw PatchBody.Bad(BadRetain);
        }

        HashSet<string> kept = [.. list.Select(n => n.AsText() ?? "")];
        foreach ((string name, JsonNode? value) in patch)
        {
            bool directive = name.StartsWith(DeletePrefix, StringComparison.Ordinal) || name.StartsWith(OrderPrefix, StringComparison.Ordinal);
            if (value is not null && !directive && !kept.Contains(name))
            {
                throw PatchBody.Bad(BadRetain);
            }
        }

        foreach (string name in original.Select(p => p.Key).Where(k => !kept.Contains(k)).ToArray())
        {
            original.Remove(name);
        }
    }

    private static void DeleteFromList(JsonObject original, string name, JsonNode? value)
    {
        if (value is not JsonArray gone)
        {
            throw PatchBody.Bad("invalid patch format of primitive list");
        }

        if (original[name] is JsonArray list)
        {
            original[name] = new JsonArray([.. Drain(list).Where(item => !gone.Any(g => JsonNode.DeepEquals(g, item)))]);
        }
    }

    // Directives mean nothing to what is new, nulls neither: they go, with the objects that carry $patch.
    private static bool Clean(JsonNode? value, out JsonNode? clean)
    {
        clean = value;
        if (value is JsonObject o)
        {
            if (o.ContainsKey(Directive))
            {
                return false;
            }

            foreach (string name in o.Select(p => p.Key).ToArray())
            {
                JsonNode? inner = o[name];
                bool directive = name == RetainKeys || name.StartsWith(DeletePrefix, StringComparison.Ordinal) || name.StartsWith(OrderPrefix, StringComparison.Ordinal);
                if (inner is null || directive || !Clean(inner, out JsonNode? kept))
                {
                    o.Remove(name);
                }
                else if (!ReferenceEquals(kept, inner))
                {
                    o[name] = kept;
                }
            }
        }
        else if (value is JsonArray a)
        {
            clean = new JsonArray([.. Drain(a).Select(item => (Keep: Clean(item, out JsonNode? kept), kept)).Where(x => x.Keep).Select(x => x.kept)]);
        }

        return true;
    }

    private static bool OfObjects(List<JsonNode?> a, List<JsonNode?> b)
    {
        bool objects = false;
        bool others = false;
        foreach (JsonNode? item in a.Concat(b))
        {
            if (item is JsonArray)
            {
                throw PatchBody.Bad("lists of lists are not supported");
            }

            objects |= item is JsonObject;
            others |= item is not JsonObject;
        }

        return objects && others ? throw PatchBody.Bad("list element types are not identical") : objects;
    }

    private static void RequireKey(JsonObject item, string key)
    {
        if (!item.ContainsKey(key))
        {
            throw PatchBody.Bad($"map: {GoText.Of(item)} does not contain declared merge key: {key}");
        }
    }

    private static bool SameKey(JsonNode? a, JsonNode? b, string key) =>
        a is JsonObject x && b is JsonObject y && x.TryGetPropertyValue(key, out JsonNode? left) && y.TryGetPropertyValue(key, out JsonNode? right)
        && JsonNode.DeepEquals(left, right);

    private static StatusException UnknownDirective(JsonNode? directive, JsonObject patch) =>
        PatchBody.Bad($"unknown patch type: {GoText.Of(directive)} in map: {GoText.Of(patch)}");

    private static JsonArray? ListOrNone(JsonObject parent, string name) =>
        parent[name] switch { null => null, JsonArray a => a, _ => throw PatchBody.Bad("expected a list, but received another kind") };

    private static FieldPart Part(ValueSchema schema, string name)
    {
        FieldSchema? field = schema.Type?.Field(name);
        return new FieldPart(field, field?.Value ?? (schema.Kind == ValueKind.Map ? schema.Items! : ValueSchema.AnyJson));
    }

    private static JsonNode? Take(JsonObject parent, string name)
    {
        JsonNode? value = parent[name];
        parent.Remove(name);
        return value;
    }

    private static List<JsonNode?> Drain(JsonArray array)
    {
        List<JsonNode?> items = [.. array];
        array.Clear();
        return items;
    }

    private readonly record struct FieldPart(FieldSchema? Schema, ValueSchema Value);
}

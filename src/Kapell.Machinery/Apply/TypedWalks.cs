using System.Text.Json.Nodes;

namespace Kapell.Machinery.Apply;

/// <summary>What changed between two objects, as sets of paths.</summary>
internal sealed record Comparison(FieldSet Added, FieldSet Modified, FieldSet Removed)
{
    public FieldSet Changed => Added.Union(Modified);
}

/// <summary>
/// The walks over typed objects that apply is made of (structured-merge-diff typed: ToFieldSet, Compare, Merge, RemoveItems). None changes
/// what it is given; results share no node with it. Depth is bounded by the decoder's.
/// </summary>
internal static class TypedWalks
{
    /// <summary>The paths an applied configuration claims.</summary>
    public static FieldSet ToFieldSet(JsonObject value, TypedPlace root)
    {
        FieldSet set = new();
        Claim(value, root, [], set);
        return set;
    }

    public static Comparison Compare(JsonObject before, JsonObject after, TypedPlace root)
    {
        Comparison result = new(new FieldSet(), new FieldSet(), new FieldSet());
        Compare(before, after, root, [], result);
        return result;
    }

    /// <summary>The live object with the configuration laid over it.</summary>
    public static JsonObject Merge(JsonObject live, JsonObject config, TypedPlace root) => (JsonObject)MergeNode(live, config, root)!;

    /// <summary>The object without the members of the set; objects emptied by that go too.</summary>
    public static JsonObject Remove(JsonObject value, FieldSet gone, TypedPlace root) => RemoveNode(value, gone, root) as JsonObject ?? [];

    /// <summary>With the declared fields above its members as members too (Set.EnsureNamedFieldsAreMembers).</summary>
    public static FieldSet WithNamedFields(FieldSet set, TypedPlace root)
    {
        FieldSet result = new();
        set.ForEach(path =>
        {
            result.Insert(path);
            TypedPlace place = root;
            for (int i = 0; i < path.Count - 1; i++)
            {
                bool named = path[i].StartsWith("f:", StringComparison.Ordinal);
                if (named && place.Value.Type?.Field(path[i][2..]) is not null)
                {
                    result.Insert([.. path.Take(i + 1)]);
                }

                place = named ? place.Child(path[i][2..]) : place.Value.Items is null ? place : place.Item;
            }
        });
        return result;
    }

    private static void Claim(JsonNode? value, TypedPlace place, List<string> path, FieldSet set)
    {
        if (place.Shape == TypedShape.Leaf)
        {
            set.Insert(path);
        }
        else if (place.Shape == TypedShape.Items)
        {
            foreach ((string element, JsonNode? item) in place.Items(value))
            {
                path.Add(element);
                Claim(item, place.Item, path, set);
                set.Insert(path);
                path.RemoveAt(path.Count - 1);
            }
        }
        else
        {
            foreach ((string name, JsonNode? item) in value as JsonObject ?? [])
            {
                path.Add(PathElements.Field(name));
                Claim(item, place.Child(name), path, set);
                bool emptyObject = item is null or JsonObject { Count: 0 };
                if (emptyObject || place.Value.Type?.Field(name) is null)
                {
                    set.Insert(path);
                }

                path.RemoveAt(path.Count - 1);
            }
        }
    }

    private static void Compare(JsonNode? before, JsonNode? after, TypedPlace place, List<string> path, Comparison result)
    {
        if (before is null && after is null)
        {
            return;
        }

        bool bothEmpty = TypedPlace.IsEmpty(before) && TypedPlace.IsEmpty(after);
        if (bothEmpty && place.AlwaysThere)
        {
            return;
        }

        if (place.Shape == TypedShape.Leaf || bothEmpty)
        {
            Mark(before, after, path, result);
            if (before is not null && after is not null && !JsonNode.DeepEquals(before, after))
            {
                result.Modified.Insert(path);
            }

            return;
        }

        if (place.Shape == TypedShape.Items)
        {
            Dictionary<string, JsonNode?> old = place.Items(before).ToDictionary(i => i.Element, i => i.Item, StringComparer.Ordinal);
            foreach ((string element, JsonNode? item) in place.Items(after))
            {
                old.Remove(element, out JsonNode? twin);
                CompareChild(twin, item, element, place.Item, path, result);
            }

            foreach ((string element, JsonNode? item) in old)
            {
                CompareChild(item, null, element, place.Item, path, result);
            }
        }
        else
        {
            JsonObject old = before as JsonObject ?? [];
            JsonObject now = after as JsonObject ?? [];
            foreach ((string name, JsonNode? item) in now)
            {
                CompareChild(old[name], item, PathElements.Field(name), place.Child(name), path, result);
            }

            foreach ((string name, JsonNode? item) in old)
            {
                if (!now.ContainsKey(name))
                {
                    CompareChild(item, null, PathElements.Field(name), place.Child(name), path, result);
                }
            }
        }

        // A list, map or object that came or went is itself a path, beside what is in it.
        if (!place.AlwaysThere)
        {
            Mark(before, after, path, result);
        }
    }

    private static void CompareChild(JsonNode? before, JsonNode? after, string element, TypedPlace place, List<string> path, Comparison result)
    {
        path.Add(element);
        Compare(before, after, place, path, result);
        path.RemoveAt(path.Count - 1);
    }

    private static void Mark(JsonNode? before, JsonNode? after, List<string> path, Comparison result)
    {
        if (path.Count > 0 && before is null)
        {
            result.Added.Insert(path);
        }
        else if (path.Count > 0 && after is null)
        {
            result.Removed.Insert(path);
        }
    }

    private static JsonNode? MergeNode(JsonNode? live, JsonNode? config, TypedPlace place)
    {
        if (config is null || live is null || place.Shape == TypedShape.Leaf)
        {
            return (config ?? live)?.DeepClone();
        }

        if (place.Shape == TypedShape.Items)
        {
            return MergeItems(live, config, place);
        }

        JsonObject result = [];
        JsonObject over = config as JsonObject ?? [];
        foreach ((string name, JsonNode? value) in live as JsonObject ?? [])
        {
            result[name] = over.ContainsKey(name) ? MergeNode(value, over[name], place.Child(name)) : value?.DeepClone();
        }

        foreach ((string name, JsonNode? value) in over)
        {
            if (!result.ContainsKey(name))
            {
                result[name] = value?.DeepClone();
            }
        }

        return result;
    }

    // The configuration's order holds; live items it does not name stay before the live neighbour they preceded.
    private static JsonArray MergeItems(JsonNode live, JsonNode config, TypedPlace place)
    {
        List<(string Element, JsonNode? Item)> old = place.Items(live);
        List<(string Element, JsonNode? Item)> over = place.Items(config);
        HashSet<string> named = [.. over.Select(o => o.Element)];
        JsonArray result = [];
        int at = 0;
        foreach ((string element, JsonNode? item) in over)
        {
            int twin = old.FindIndex(o => o.Element == element);
            for (; at < twin; at++)
            {
                if (!named.Contains(old[at].Element))
                {
                    result.Add(old[at].Item?.DeepClone());
                }
            }

            result.Add(twin < 0 ? item?.DeepClone() : MergeNode(old[twin].Item, item, place.Item));
        }

        for (; at < old.Count; at++)
        {
            if (!named.Contains(old[at].Element))
            {
                result.Add(old[at].Item?.DeepClone());
            }
        }

        return result;
    }

    private static JsonNode? RemoveNode(JsonNode? value, FieldSet gone, TypedPlace place)
    {
        if (place.Shape == TypedShape.Leaf || value is null)
        {
            return value?.DeepClone();
        }

        if (place.Shape == TypedShape.Items)
        {
            JsonArray kept = [];
            foreach ((string element, JsonNode? item) in place.Items(value))
            {
                FieldSet? child = gone.Child(element);
                if (child is not { Member: true })
                {
                    kept.Add(child is null ? item?.DeepClone() : RemoveNode(item, child, place.Item));
                }
            }

            return kept.Count > 0 ? kept : null;
        }

        JsonObject result = [];
        foreach ((string name, JsonNode? item) in value as JsonObject ?? [])
        {
            FieldSet? child = gone.Child(PathElements.Field(name));
            if (child is { Member: true })
            {
                continue;
            }

            JsonNode? left = child is null ? item?.DeepClone() : RemoveNode(item, child, place.Child(name));
            if (left is not null || child is null)
            {
                result[name] = left;
            }
        }

        return result.Count > 0 ? result : null;
    }
}

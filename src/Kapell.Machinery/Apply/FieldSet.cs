using System.Text.Json.Nodes;

namespace Kapell.Machinery.Apply;

/// <summary>
/// A set of field paths as a tree (structured-merge-diff fieldpath.Set). An edge is a path element in its written form: <c>f:name</c>,
/// <c>k:{"name":"web"}</c>, <c>v:"x"</c>, <c>i:0</c>. Mutable; the operations return new sets and share nothing.
/// </summary>
internal sealed class FieldSet
{
    /// <summary>FieldsV1 from a stranger is as deep as the parser allows; nothing else makes a set deeper.</summary>
    private const int DepthMax = 128;

    private SortedDictionary<string, FieldSet>? _children;

    /// <summary>Whether the path that ends here is in the set.</summary>
    public bool Member { get; private set; }

    public bool IsEmpty => !Member && (_children is null || _children.Count == 0);

    public IEnumerable<KeyValuePair<string, FieldSet>> Children => _children ?? [];

    public FieldSet? Child(string element) => _children?.GetValueOrDefault(element);

    public void Insert(IReadOnlyList<string> path)
    {
        FieldSet node = this;
        foreach (string element in path)
        {
            node = node.ChildOrNew(element);
        }

        node.Member = true;
    }

    public bool Has(IReadOnlyList<string> path)
    {
        FieldSet? node = this;
        foreach (string element in path)
        {
            node = node?.Child(element);
        }

        return node is { Member: true };
    }

    public FieldSet Union(FieldSet other) => Combine(other, static (a, b) => a || b, keepLeft: true, keepRight: true);

    public FieldSet Intersection(FieldSet other) => Combine(other, static (a, b) => a && b, keepLeft: false, keepRight: false);

    public FieldSet Difference(FieldSet other) => Combine(other, static (a, b) => a && !b, keepLeft: true, keepRight: false);

    /// <summary>Without the members of the other set and everything below them.</summary>
    public FieldSet RecursiveDifference(FieldSet other)
    {
        FieldSet result = new() { Member = Member && !other.Member };
        foreach ((string element, FieldSet child) in Children)
        {
            FieldSet? gone = other.Child(element);
            if (gone is not { Member: true })
            {
                result.Attach(element, gone is null ? child.Copy() : child.RecursiveDifference(gone));
            }
        }

        return result;
    }

    public FieldSet Copy() => Combine(new FieldSet(), static (a, _) => a, keepLeft: true, keepRight: false);

    public bool SetEquals(FieldSet other) => Difference(other).IsEmpty && other.Difference(this).IsEmpty;

    /// <summary>Calls with each path in the set; the list is reused.</summary>
    public void ForEach(Action<IReadOnlyList<string>> visit)
    {
        List<string> path = [];
        void Walk(FieldSet node)
        {
            if (node.Member)
            {
                visit(path);
            }

            foreach ((string element, FieldSet child) in node.Children)
            {
                path.Add(element);
                Walk(child);
                path.RemoveAt(path.Count - 1);
            }
        }

        Walk(this);
    }

    /// <summary>FieldsV1: <c>{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}</c>.</summary>
    public JsonObject ToJson()
    {
        JsonObject json = [];
        if (Member && _children?.Count > 0)
        {
            json["."] = new JsonObject();
        }

        foreach ((string element, FieldSet child) in Children)
        {
            json[element] = child.ToJson();
        }

        return json;
    }

    /// <summary>Null when it is not FieldsV1. A leaf is a member; so is a node that says <c>"."</c>.</summary>
    public static FieldSet? FromJson(JsonObject json)
    {
        FieldSet root = new();
        return Read(root, json, 0) ? root : null;
    }

    private static bool Read(FieldSet node, JsonObject json, int depth)
    {
        if (depth > DepthMax)
        {
            return false;
        }

        foreach ((string element, JsonNode? value) in json)
        {
            if (value is not JsonObject inner)
            {
                return false;
            }

            if (element == ".")
            {
                node.Member = true;
                continue;
            }

            if (PathElements.Normalize(element) is not { } known)
            {
                return false;
            }

            FieldSet child = node.ChildOrNew(known);
            child.Member |= inner.Count == 0;
            if (!Read(child, inner, depth + 1))
            {
                return false;
            }
        }

        return true;
    }

    private FieldSet Combine(FieldSet other, Func<bool, bool, bool> member, bool keepLeft, bool keepRight)
    {
        FieldSet result = new() { Member = member(Member, other.Member) };
        foreach ((string element, FieldSet child) in Children)
        {
            FieldSet? twin = other.Child(element);
            if (twin is not null)
            {
                result.Attach(element, child.Combine(twin, member, keepLeft, keepRight));
            }
            else if (keepLeft)
            {
                result.Attach(element, child.Copy());
            }
        }

        foreach ((string element, FieldSet child) in keepRight ? other.Children : [])
        {
            if (Child(element) is null)
            {
                result.Attach(element, child.Copy());
            }
        }

        return result;
    }

    private void Attach(string element, FieldSet child)
    {
        if (!child.IsEmpty)
        {
            (_children ??= new SortedDictionary<string, FieldSet>(StringComparer.Ordinal))[element] = child;
        }
    }

    private FieldSet ChildOrNew(string element)
    {
        _children ??= new SortedDictionary<string, FieldSet>(StringComparer.Ordinal);
        if (!_children.TryGetValue(element, out FieldSet? child))
        {
            _children[element] = child = new FieldSet();
        }

        return child;
    }
}

namespace Kapell.Machinery.Schemas;

/// <summary>How server-side apply sees a list: one value, a set of values, or objects known by keys.</summary>
public enum ListType
{
    Atomic,
    Set,
    Map,
}

/// <summary>One field of a type.</summary>
public sealed record FieldSchema
{
    public required string Name { get; init; }

    public required ValueSchema Value { get; init; }

    public string Description { get; init; } = "";

    public bool Required { get; init; }

    /// <summary>Strategic merge: <c>merge</c>, <c>retainKeys</c>; empty means replace for lists and merge for objects.</summary>
    public IReadOnlyList<string> PatchStrategy { get; init; } = [];

    public string PatchMergeKey { get; init; } = "";

    /// <summary>As declared; a list that declares nothing is atomic.</summary>
    public ListType ListType { get; init; }

    /// <summary>Whether the list type was declared (OpenAPI shows only declared ones).</summary>
    public bool HasListType { get; init; }

    public IReadOnlyList<string> ListMapKeys { get; init; } = [];

    /// <summary>An object or map that apply owns as one value.</summary>
    public bool Atomic { get; init; }

    /// <summary>An object that Go holds by value, so upstream never sees it absent (<c>spec</c>, <c>metadata</c>).</summary>
    public bool AlwaysThere { get; init; }

    /// <summary>The default as JSON text, or empty: <c>"TCP"</c>.</summary>
    public string DefaultJson { get; init; } = "";

    /// <summary>Where the field lies in the protobuf form; null when it has none.</summary>
    public WirePlace? Wire { get; init; }

    public bool Merges => PatchStrategy.Contains("merge");

    public bool RetainsKeys => PatchStrategy.Contains("retainKeys");
}

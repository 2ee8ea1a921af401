namespace Kapell.Machinery.Schemas;

/// <summary>What a JSON value may be. All but the last four stand for themselves.</summary>
public enum ValueKind
{
    Text,
    Int32,
    Int64,
    Boolean,
    Double,

    /// <summary>Base64 text.</summary>
    Bytes,

    /// <summary>RFC 3339 text to the second (metav1.Time).</summary>
    Time,
    MicroTime,
    Quantity,
    IntOrString,

    /// <summary>Any JSON: RawExtension, FieldsV1, custom resources.</summary>
    Raw,
    Object,
    List,
    Map,
}

/// <summary>The type of a value: a plain one, an object of a named type, a list or a map of others. Immutable after loading.</summary>
public sealed class ValueSchema
{
    private readonly Func<TypeSchema>? _type;

    internal ValueSchema(ValueKind kind, ValueSchema? items = null, Func<TypeSchema>? type = null, string goName = "")
    {
        Kind = kind;
        Items = items;
        _type = type;
        GoName = goName;
    }

    /// <summary>Any JSON at all: what custom resources without a schema, and fields below Raw, are treated as.</summary>
    public static ValueSchema AnyJson { get; } = new(ValueKind.Raw);

    public ValueKind Kind { get; }

    /// <summary>Of a list or a map: the type of its items. Map keys are always text.</summary>
    public ValueSchema? Items { get; }

    /// <summary>Of an object: its type.</summary>
    public TypeSchema? Type => _type?.Invoke();

    /// <summary>The Go type's name as decoding errors print it: <c>int32</c>, <c>v1.PullPolicy</c>, <c>[]v1.Container</c>.</summary>
    public string GoName { get; }

    public override string ToString() => GoName;
}

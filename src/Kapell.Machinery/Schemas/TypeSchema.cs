using System.Collections.Frozen;

namespace Kapell.Machinery.Schemas;

/// <summary>
/// One object type of the API by its OpenAPI name (<c>io.k8s.api.core.v1.Pod</c>): fields, list facts, descriptions. Immutable and
/// shared by all threads.
/// </summary>
public sealed class TypeSchema
{
    private readonly FrozenDictionary<string, FieldSchema> _byName;

    internal TypeSchema(string name, string description, bool atomic, GroupVersionKind? kind, IReadOnlyList<FieldSchema> fields)
    {
        Name = name;
        GoName = name[(name.LastIndexOf('.') + 1)..];
        Description = description;
        Atomic = atomic;
        Kind = kind;
        Fields = fields;
        _byName = fields.ToFrozenDictionary(f => f.Name, StringComparer.Ordinal);
        Wire = WireNode.Of(fields);
        OpenValue = new ValueSchema(ValueKind.Object, null, () => this, GoName);
    }

    public string Name { get; }

    /// <summary>The last part of the name: <c>DeploymentSpec</c>.</summary>
    public string GoName { get; }

    public string Description { get; }

    /// <summary>Apply owns an object of this type as one value (structType=atomic).</summary>
    public bool Atomic { get; }

    /// <summary>For a type that stands alone: its group, version and kind.</summary>
    public GroupVersionKind? Kind { get; }

    /// <summary>In the order of their names.</summary>
    public IReadOnlyList<FieldSchema> Fields { get; }

    /// <summary>The fields by their protobuf numbers; empty when the type has no protobuf form.</summary>
    internal WireNode Wire { get; }

    /// <summary>This type as a value.</summary>
    public ValueSchema OpenValue { get; }

    /// <summary>Null when the type has no such field. Names are case-sensitive.</summary>
    public FieldSchema? Field(string name) => _byName.GetValueOrDefault(name);

    public override string ToString() => Name;
}

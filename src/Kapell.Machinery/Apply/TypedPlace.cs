using System.Text.Json.Nodes;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Apply;

/// <summary>How the schema lets apply see a field's value: as one leaf, as named fields, as items.</summary>
internal enum TypedShape
{
    Leaf,
    Fields,
    Items,
}

/// <summary>A place in a typed object: its value's schema and, for lists, the facts of the field that holds it.</summary>
internal readonly record struct TypedPlace(ValueSchema Value, FieldSchema? Field)
{
    public TypedShape Shape => Value.Kind switch
    {
        ValueKind.Object => Value.Type!.Atomic || Field is { Atomic: true } && Field.Value == Value ? TypedShape.Leaf : TypedShape.Fields,
        ValueKind.Map => Field is { Atomic: true } ? TypedShape.Leaf : TypedShape.Fields,
        ValueKind.List => Field is { ListType: ListType.Set or ListType.Map } && Field.Value == Value ? TypedShape.Items : TypedShape.Leaf,
        _ => TypedShape.Leaf,
    };

    /// <summary>Go never sees this absent, so its coming and going is nobody's.</summary>
    public bool AlwaysThere => Field is not null && Field.Value == Value
        && (Field.AlwaysThere || (Field.Required && Value.Kind is ValueKind.List or ValueKind.Map));

    public TypedPlace Child(string name)
    {
        if (Value.Kind == ValueKind.Map)
        {
            return new TypedPlace(Value.Items!, null);
        }

        FieldSchema? field = Value.Type?.Field(name);
        return new TypedPlace(field?.Value ?? ValueSchema.AnyJson, field);
    }

    public TypedPlace Item => new(Value.Items!, null);

    /// <summary>The items by their path element, in order; the first of duplicates stands for all.</summary>
    public List<(string Element, JsonNode? Item)> Items(JsonNode? list)
    {
        List<(string, JsonNode?)> items = [];
        HashSet<string> seen = new(StringComparer.Ordinal);
        foreach (JsonNode? item in list as JsonArray ?? [])
        {
            string element = PathElements.OfItem(item, Field!, out _);
            if (seen.Add(element))
            {
                items.Add((element, item));
            }
        }

        return items;
    }

    public static bool IsEmpty(JsonNode? node) => node switch { null => true, JsonObject o => o.Count == 0, JsonArray a => a.Count == 0, _ => false };
}

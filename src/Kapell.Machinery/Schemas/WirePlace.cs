namespace Kapell.Machinery.Schemas;

/// <summary>Where a field lies in a message: field numbers from the outside in (mostly one), and how Go holds its value.</summary>
/// <param name="Path">At least one number, each 1 to 536870911.</param>
/// <param name="ByPointer">Zero is a value of its own, absence is none.</param>
/// <param name="ZeroShown">The zero stands in the JSON form too.</param>
public sealed record WirePlace(IReadOnlyList<int> Path, bool ByPointer, bool ZeroShown)
{
    /// <summary><c>2/2*</c>: in field 2 of the message in field 2, by pointer. Null for an empty text.</summary>
    internal static WirePlace? Parse(string text) => text.Length == 0
        ? null
        : new WirePlace(
            [.. text.TrimEnd('*', '!').Split('/').Select(n => int.Parse(n, System.Globalization.CultureInfo.InvariantCulture))],
            text[^1] == '*', text[^1] == '!');
}

/// <summary>The numbers of one message: each stands for a field, or for a group whose fields JSON shows beside the others.</summary>
internal sealed class WireNode
{
    private readonly SortedDictionary<int, WireNode> _inner = [];

    public FieldSchema? Field { get; private set; }

    /// <summary>In the order of the numbers, as Go writes them.</summary>
    public IReadOnlyDictionary<int, WireNode> Inner => _inner;

    public bool IsEmpty => _inner.Count == 0;

    public static WireNode Of(IEnumerable<FieldSchema> fields)
    {
        WireNode root = new();
        foreach (FieldSchema field in fields)
        {
            if (field.Wire is not { } place)
            {
                continue;
            }

            WireNode at = root;
            foreach (int number in place.Path)
            {
                at = at._inner.TryGetValue(number, out WireNode? next) ? next : at._inner[number] = new WireNode();
            }

            at.Field = field;
        }

        return root;
    }

    public WireNode? Find(int number) => _inner.GetValueOrDefault(number);
}

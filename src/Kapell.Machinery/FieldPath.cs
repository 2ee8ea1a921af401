using System.Globalization;

namespace Kapell.Machinery;

/// <summary>Where a value stands in an object: <c>spec.containers[0].ports[1].name</c>, <c>metadata.labels[app]</c>. Immutable.</summary>
public sealed class FieldPath
{
    private readonly string _text;

    private FieldPath(string text) => _text = text;

    public static FieldPath Root { get; } = new("");

    public static FieldPath New(params ReadOnlySpan<string> names) => Root.Child(names);

    public FieldPath Child(params ReadOnlySpan<string> names)
    {
        string text = _text;
        foreach (string name in names)
        {
            text = text.Length == 0 ? name : text + "." + name;
        }

        return new FieldPath(text);
    }

    public FieldPath Index(int index) => new(_text + "[" + index.ToString(CultureInfo.InvariantCulture) + "]");

    public FieldPath Key(string key) => new(_text + "[" + key + "]");

    public override string ToString() => _text.Length == 0 ? "<nil>" : _text;
}

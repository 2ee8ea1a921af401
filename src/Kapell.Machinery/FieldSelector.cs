using System.Text;

namespace Kapell.Machinery;

/// <summary>One term of a field selector: <c>field=value</c> or <c>field!=value</c>.</summary>
public sealed record FieldRequirement(string Field, string Value, bool Negated)
{
    public override string ToString() =>
        Field + (Negated ? "!=" : "=") +
        Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(",", "\\,", StringComparison.Ordinal).Replace("=", "\\=", StringComparison.Ordinal);
}

/// <summary>Chooses objects by declared fields: all terms must hold (apimachinery fields.Selector). Immutable.</summary>
public sealed class FieldSelector
{
    private FieldSelector(IReadOnlyList<FieldRequirement> requirements) => Requirements = requirements;

    public static FieldSelector Everything { get; } = new([]);

    public IReadOnlyList<FieldRequirement> Requirements { get; }

    public bool IsEverything => Requirements.Count == 0;

    /// <exception cref="StatusException">BadRequest with upstream's words.</exception>
    public static FieldSelector Parse(string text) =>
        TryParse(text, out FieldSelector selector, out string error) ? selector : throw new StatusException(Status.BadRequest(error));

    public static bool TryParse(string text, out FieldSelector selector, out string error)
    {
        selector = Everything;
        error = "";
        List<FieldRequirement> requirements = [];
        foreach (string term in Terms(text).Order(StringComparer.Ordinal).Where(t => t.Length > 0))
        {
            int at = term.IndexOf('=', StringComparison.Ordinal);
            if (at < 0)
            {
                error = $"invalid selector: '{text}'; can't understand '{term}'";
                return false;
            }

            bool negated = at > 0 && term[at - 1] == '!';
            int value = at + 1 < term.Length && term[at + 1] == '=' && !negated ? at + 2 : at + 1;
            if (!TryUnescape(term[value..], out string plain, out error))
            {
                return false;
            }

            requirements.Add(new FieldRequirement(term[..(negated ? at - 1 : at)], plain, negated));
        }

        selector = new FieldSelector(requirements);
        return true;
    }

    /// <summary>The value this field must have, or null when any value may do.</summary>
    public string? ExactValue(string field) => Requirements.FirstOrDefault(r => r.Field == field && !r.Negated)?.Value;

    /// <param name="lookup">Field name to value; "" when absent.</param>
    public bool Matches(Func<string, string> lookup)
    {
        foreach (FieldRequirement r in Requirements)
        {
            if (lookup(r.Field) == r.Value == r.Negated)
            {
                return false;
            }
        }

        return true;
    }

    public override string ToString() => string.Join(",", Requirements);

    private static List<string> Terms(string text)
    {
        List<string> terms = [];
        int start = 0;
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                i++;
            }
            else if (text[i] == ',')
            {
                terms.Add(text[start..i]);
                start = i + 1;
            }
        }

        terms.Add(text[start..]);
        return terms;
    }

    private static bool TryUnescape(string value, out string plain, out string error)
    {
        plain = value;
        error = "";
        StringBuilder result = new();
        for (int i = 0; i < value.Length; i++)
        {
            char c = value[i];
            if (c == '\\')
            {
                i++;
                if (i >= value.Length || value[i] is not ('\\' or ',' or '='))
                {
                    error = "invalid field selector: invalid escape sequence: \\" + (i < value.Length ? value[i].ToString() : "");
                    return false;
                }

                c = value[i];
            }
            else if (c is ',' or '=')
            {
                // Go prints the rune as its number.
                error = $"invalid field selector: unescaped character in value: {(int)c}";
                return false;
            }

            result.Append(c);
        }

        plain = result.ToString();
        return true;
    }
}

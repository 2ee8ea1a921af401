using System.Text;

namespace Kapell.Machinery;

/// <summary>
/// The spelling rules of names (apimachinery util/validation and api/validate/content). Each check returns upstream's messages,
/// an empty list when the name is good. Lengths are bytes of UTF-8.
/// </summary>
public static class Names
{
    public const int Dns1123LabelMax = 63;

    public const int Dns1123SubdomainMax = 253;

    private const string LabelFmt = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    private const string SubdomainFmt = LabelFmt + "(\\." + LabelFmt + ")*";
    private const string UnderscoreFmt = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    private const string Dns1035Fmt = "[a-z]([-a-z0-9]*[a-z0-9])?";
    private const string LabelKeyFmt = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    private const string LabelKeyWords =
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

    private const string WildcardWords =
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case " +
        "alphanumeric characters, '-' or '.' and end with an alphanumeric character";

    public static IReadOnlyList<string> IsDns1123Label(string value)
    {
        List<string> errors = TooLong(value, Dns1123LabelMax, "characters");
        if (!IsLabel(value))
        {
            errors.Add(IsSubdomain(value)
                ? "must not contain dots"
                : RegexError(
                    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                    LabelFmt, "my-name", "123-abc"));
        }

        return errors;
    }

    public static IReadOnlyList<string> IsDns1123Subdomain(string value)
    {
        List<string> errors = TooLong(value, Dns1123SubdomainMax, "characters");
        if (!IsSubdomain(value))
        {
            errors.Add(RegexError(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                SubdomainFmt, "example.com"));
        }

        return errors;
    }

    /// <summary>As <see cref="IsDns1123Subdomain"/>, with underscores: the search paths of resolvers.</summary>
    public static IReadOnlyList<string> IsDns1123SubdomainWithUnderscore(string value)
    {
        List<string> errors = TooLong(value, Dns1123SubdomainMax, "characters");
        bool good = value.Split('.').All(static part =>
        {
            ReadOnlySpan<char> rest = part.AsSpan(part.StartsWith('_') ? 1 : 0);
            return rest.Length > 0 && IsLowerAlphanumeric(rest[0]) && IsLowerAlphanumeric(rest[^1])
                && part.All(static c => IsLowerAlphanumeric(c) || c is '-' or '_');
        });
        if (!good)
        {
            errors.Add(RegexError(
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                UnderscoreFmt + "(\\." + UnderscoreFmt + ")*", "example.com"));
        }

        return errors;
    }

    private static bool IsLowerAlphanumeric(char c) => c is (>= 'a' and <= 'z') or (>= '0' and <= '9');

    public static IReadOnlyList<string> IsWildcardDns1123Subdomain(string value)
    {
        List<string> errors = TooLong(value, Dns1123SubdomainMax, "characters");
        if (!value.StartsWith("*.", StringComparison.Ordinal) || !IsSubdomain(value.AsSpan(2)))
        {
            errors.Add(RegexError(WildcardWords, "\\*\\." + SubdomainFmt, "*.example.com"));
        }

        return errors;
    }

    public static IReadOnlyList<string> IsDns1035Label(string value)
    {
        List<string> errors = TooLong(value, Dns1123LabelMax, "characters");
        if (!IsLabel(value) || !char.IsAsciiLetterLower(value[0]))
        {
            errors.Add(RegexError(
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
                Dns1035Fmt, "my-name", "abc-123"));
        }

        return errors;
    }

    /// <summary>A label or annotation key: <c>[subdomain/]name</c>.</summary>
    public static IReadOnlyList<string> IsQualifiedName(string value)
    {
        List<string> errors = [];
        string[] parts = value.Split('/', 3);
        if (parts.Length == 3)
        {
            return ["a valid label key " + RegexError(LabelKeyWords, LabelKeyFmt, "MyName", "my.name", "123-abc") +
                " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"];
        }

        if (parts.Length == 2)
        {
            IReadOnlyList<string> prefix = parts[0].Length == 0 ? ["must be non-empty"] : IsDns1123Subdomain(parts[0]);
            errors.AddRange(prefix.Select(m => "prefix part " + m));
        }

        string name = parts[^1];
        if (name.Length == 0)
        {
            errors.Add("name part must be non-empty");
        }
        else
        {
            errors.AddRange(TooLong(name, 63, "bytes").Select(m => "name part " + m));
        }

        if (!IsKeyText(name))
        {
            errors.Add("name part " + RegexError(LabelKeyWords, LabelKeyFmt, "MyName", "my.name", "123-abc"));
        }

        return errors;
    }

    public static IReadOnlyList<string> IsLabelValue(string value)
    {
        List<string> errors = TooLong(value, 63, "bytes");
        if (value.Length > 0 && !IsKeyText(value))
        {
            errors.Add(RegexError("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                "(" + LabelKeyFmt + ")?", "MyValue", "my_value", "12345"));
        }

        return errors;
    }

    /// <summary>A name that can stand as one segment of a URL.</summary>
    public static IReadOnlyList<string> IsPathSegment(string value) => value is "." or ".." ? [$"may not be '{value}'"] : IsPathSegmentPrefix(value);

    public static IReadOnlyList<string> IsPathSegmentPrefix(string value) =>
        [.. from c in "/%" where value.Contains(c, StringComparison.Ordinal) select $"may not contain '{c}'"];

    public static IReadOnlyList<string> IsCIdentifier(string value) =>
        value.Length > 0 && !char.IsAsciiDigit(value[0]) && All(value, c => char.IsAsciiLetterOrDigit(c) || c == '_')
            ? []
            : [RegexError("a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
                "[A-Za-z_][A-Za-z0-9_]*", "my_name", "MY_NAME", "MyName")];

    public static IReadOnlyList<string> IsEnvVarName(string value)
    {
        List<string> errors = [];
        if (value.Length == 0 || char.IsAsciiDigit(value[0]) || !All(value, IsKeyChar))
        {
            errors.Add(RegexError(
                "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
                "[-._a-zA-Z][-._a-zA-Z0-9]*", "my.env-name", "MY_ENV.NAME", "MyEnvName1"));
        }

        AddDirectoryFaults(errors, value);
        return errors;
    }

    /// <summary>What the server asks of new environment variables since RelaxedEnvironmentVariableValidation.</summary>
    public static IReadOnlyList<string> IsRelaxedEnvVarName(string value)
    {
        List<string> errors = [];
        if (value.Length == 0)
        {
            errors.Add("environment variable name must be non-empty");
        }

        if (!All(value, c => c is >= ' ' and <= '~' and not '='))
        {
            errors.Add("a valid environment variable name must consist only of printable ASCII characters other than '='");
        }

        return errors;
    }

    /// <summary>A key of a ConfigMap or Secret.</summary>
    public static IReadOnlyList<string> IsConfigMapKey(string value)
    {
        List<string> errors = TooLong(value, Dns1123SubdomainMax, "characters");
        if (value.Length == 0 || !All(value, IsKeyChar))
        {
            errors.Add(RegexError("a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
                "[-._a-zA-Z0-9]+", "key.name", "KEY_NAME", "key-name"));
        }

        AddDirectoryFaults(errors, value);
        return errors;
    }

    public static IReadOnlyList<string> IsPortName(string value)
    {
        List<string> errors = TooLong(value, 15, "characters");
        if (value.Length == 0 || !All(value, c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-'))
        {
            errors.Add("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
        }

        if (!value.Any(char.IsAsciiLetterLower))
        {
            errors.Add("must contain at least one letter (a-z)");
        }

        if (value.Contains("--", StringComparison.Ordinal))
        {
            errors.Add("must not contain consecutive hyphens");
        }

        if (value.Length > 0 && (value[0] == '-' || value[^1] == '-'))
        {
            errors.Add("must not begin or end with a hyphen");
        }

        return errors;
    }

    public static IReadOnlyList<string> IsPortNumber(long port) => IsInRange(port, 1, 65535);

    public static IReadOnlyList<string> IsInRange(long value, long min, long max) =>
        value >= min && value <= max ? [] : [$"must be between {min} and {max}, inclusive"];

    public static IReadOnlyList<string> IsPercent(string value) =>
        value.Length > 1 && value[^1] == '%' && All(value[..^1], char.IsAsciiDigit)
            ? []
            : [RegexError("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%", "93%")];

    public static IReadOnlyList<string> IsHttpHeaderName(string value) =>
        value.Length > 0 && All(value, c => char.IsAsciiLetterOrDigit(c) || c == '-')
            ? []
            : [RegexError("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name")];

    public static string RegexError(string message, string pattern, params ReadOnlySpan<string> examples)
    {
        StringBuilder text = new(message);
        for (int i = 0; i < examples.Length; i++)
        {
            text.Append(i == 0 ? " (e.g. " : " or ").Append('\'').Append(examples[i]).Append("', ");
        }

        return text.Append(examples.Length == 0 ? " (" : "").Append("regex used for validation is '").Append(pattern).Append("')").ToString();
    }

    private static List<string> TooLong(string value, int max, string unit) =>
        value.Length > max || Encoding.UTF8.GetByteCount(value) > max ? [$"must be no more than {max} {unit}"] : [];

    private static void AddDirectoryFaults(List<string> errors, string value)
    {
        if (value is "." or "..")
        {
            errors.Add($"must not be '{value}'");
        }
        else if (value.StartsWith("..", StringComparison.Ordinal))
        {
            errors.Add("must not start with '..'");
        }
    }

    private static bool IsLabel(ReadOnlySpan<char> value)
    {
        if (value.IsEmpty || value[0] == '-' || value[^1] == '-')
        {
            return false;
        }

        foreach (char c in value)
        {
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-')
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsSubdomain(ReadOnlySpan<char> value)
    {
        foreach (Range part in value.Split('.'))
        {
            if (!IsLabel(value[part]))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsKeyText(string value) =>
        value.Length > 0 && char.IsAsciiLetterOrDigit(value[0]) && char.IsAsciiLetterOrDigit(value[^1]) && All(value, IsKeyChar);

    private static bool IsKeyChar(char c) => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.';

    private static bool All(string value, Func<char, bool> test)
    {
        foreach (char c in value)
        {
            if (!test(c))
            {
                return false;
            }
        }

        return true;
    }
}

using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>Checks many kinds make, with upstream's words (apimachinery api/validation, pkg/apis/core/validation).</summary>
internal static class Validating
{
    public const string NotNegative = "must be greater than or equal to 0";
    public const string FieldIsImmutable = "field is immutable";
    private const string BadIP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

    public static void NotNegativeNumber(List<FieldError> errors, FieldPath path, JsonObject? o, string name)
    {
        if (o.Long(name) is < 0 and var value)
        {
            errors.Add(FieldError.Invalid(path.Child(name), value, NotNegative));
        }
    }

    public static void OneOf(List<FieldError> errors, FieldPath path, string value, params ReadOnlySpan<string> supported)
    {
        if (!supported.Contains(value))
        {
            string[] sorted = supported.ToArray();
            Array.Sort(sorted, StringComparer.Ordinal);
            errors.Add(FieldError.NotSupported(path, value, sorted));
        }
    }

    public static void Immutable(List<FieldError> errors, FieldPath path, JsonNode? value, JsonNode? old)
    {
        if (!value.SameAs(old))
        {
            errors.Add(FieldError.Invalid(path, value, FieldIsImmutable));
        }
    }

    public static void Messages(List<FieldError> errors, FieldPath path, string value, IReadOnlyList<string> messages) =>
        errors.AddRange(messages.Select(m => FieldError.Invalid(path, value, m)));

    /// <summary>A name that must be there and be spelled right.</summary>
    public static void RequiredName(List<FieldError> errors, FieldPath path, string value, Func<string, IReadOnlyList<string>> rule)
    {
        if (value.Length == 0)
        {
            errors.Add(FieldError.Required(path, ""));
        }
        else
        {
            Messages(errors, path, value, rule(value));
        }
    }

    public static void RequiredText(List<FieldError> errors, FieldPath path, JsonObject? o, string name)
    {
        if (o.Text(name).Length == 0)
        {
            errors.Add(FieldError.Required(path.Child(name), ""));
        }
    }

    public static void NotNegativeIntOrPercent(List<FieldError> errors, FieldPath path, JsonNode? value)
    {
        if (value.AsLong() is { } number)
        {
            if (number < 0)
            {
                errors.Add(FieldError.Invalid(path, number, NotNegative));
            }
        }
        else if (value.AsText() is { } text)
        {
            Messages(errors, path, text, Names.IsPercent(text));
        }
    }

    public static void NotOver100Percent(List<FieldError> errors, FieldPath path, JsonNode? value)
    {
        if (PercentOf(value) > 100)
        {
            errors.Add(FieldError.Invalid(path, value.AsText(), "must not be greater than 100%"));
        }
    }

    /// <summary>The amount as upstream's rolling updates read it: a number, or the number before the percent sign.</summary>
    public static long IntOrPercentValue(JsonNode? value) => value.AsLong() ?? PercentOf(value) ?? 0;

    /// <summary>A selector that must be there, choose something, and match the template's labels.</summary>
    public static void SelectorMatches(List<FieldError> errors, FieldPath labelsPath, JsonObject? selector, JsonObject? labels)
    {
        Dictionary<string, string> map = labels?.ToDictionary(p => p.Key, p => p.Value.AsText() ?? "", StringComparer.Ordinal) ?? [];
        if (!TrySelector(selector, out LabelSelector parsed) || !parsed.Matches(map))
        {
            errors.Add(FieldError.Invalid(labelsPath, labels, "`selector` does not match template `labels`"));
        }
    }

    public static bool TrySelector(JsonObject? selector, out LabelSelector parsed)
    {
        if (selector is null)
        {
            parsed = LabelSelector.Nothing;
            return true;
        }

        using JsonDocument document = JsonDocument.Parse(JsonBytes.Of(selector));
        return LabelSelector.TryFromJson(document.RootElement, out parsed, out _);
    }

    public static bool IsEmptySelector(JsonObject selector) =>
        selector.Obj("matchLabels") is not { Count: > 0 } && !selector.HasItems("matchExpressions");

    public static void IP(List<FieldError> errors, FieldPath path, string value)
    {
        if (!IsIP(value, out _))
        {
            errors.Add(FieldError.Invalid(path, value, BadIP));
        }
    }

    /// <summary>Go's net.ParseCIDR, with upstream's words (validation.IsValidCIDR).</summary>
    public static void Cidr(List<FieldError> errors, FieldPath path, string value)
    {
        string[] parts = value.Split('/');
        bool good = parts.Length == 2 && IsIP(parts[0], out bool v6) && parts[1].Length is >= 1 and <= 3 && parts[1].All(char.IsAsciiDigit)
            && int.Parse(parts[1], CultureInfo.InvariantCulture) <= (v6 ? 128 : 32);
        if (!good)
        {
            errors.Add(FieldError.Invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
        }
    }

    /// <summary>Addresses no traffic from outside can have (core validation: ValidateNonSpecialIP).</summary>
    public static void NotSpecialIP(List<FieldError> errors, FieldPath path, string value)
    {
        if (!IsIP(value, out _))
        {
            IP(errors, path, value);
            return;
        }

        System.Net.IPAddress address = System.Net.IPAddress.Parse(value);
        byte[] bytes = address.GetAddressBytes();
        string? fault = address.Equals(System.Net.IPAddress.Any) || address.Equals(System.Net.IPAddress.IPv6Any) ? "may not be unspecified (0.0.0.0 or ::)"
            : System.Net.IPAddress.IsLoopback(address) ? "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            : address.IsIPv6LinkLocal || (bytes.Length == 4 && bytes[0] == 169 && bytes[1] == 254) ? "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
            : (bytes.Length == 4 && bytes[0] == 224 && bytes[1] == 0 && bytes[2] == 0) || (bytes[0] == 0xff && bytes.Length == 16 && bytes[1] == 2)
                ? "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
            : null;
        if (fault is not null)
        {
            errors.Add(FieldError.Invalid(path, value, fault));
        }
    }

    /// <summary>Go's net.ParseIP: dotted quads have four decimal parts, and no zone stands behind a v6 address.</summary>
    public static bool IsIP(string value, out bool v6)
    {
        v6 = value.Contains(':');
        if (v6)
        {
            return !value.Contains('%') && !value.Contains('[') && System.Net.IPAddress.TryParse(value, out _);
        }

        string[] parts = value.Split('.');
        return parts.Length == 4 && parts.All(static p => p.Length is >= 1 and <= 3 && p.All(char.IsAsciiDigit)
            && (p.Length == 1 || p[0] != '0') && int.Parse(p, CultureInfo.InvariantCulture) <= 255);
    }

    private static long? PercentOf(JsonNode? value) =>
        value.AsText() is { } text && text.EndsWith('%')
        && long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long percent)
            ? percent
            : null;
}

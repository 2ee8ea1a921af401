using System.Globalization;
using System.Text.Json.Nodes;

namespace Kapell.Machinery.Yaml;

/// <summary>The numbers among YAML 1.1's plain scalars.</summary>
internal static class YamlNumbers
{
    /// <summary>Null when the text is no number; infinities and NaN stay text, JSON has none.</summary>
    public static JsonNode? Parse(string text)
    {
        char first = text[0];
        if (!char.IsAsciiDigit(first) && first is not ('-' or '+' or '.'))
        {
            return null;
        }

        string plain = text.Replace("_", "", StringComparison.Ordinal);
        bool negative = plain.StartsWith('-');
        string digits = plain.TrimStart('-', '+');
        if (plain.Length - digits.Length > 1 || digits.Length == 0)
        {
            return null;
        }

        long? whole = Whole(digits);
        if (whole is { } number)
        {
            return JsonValue.Create(negative ? -number : number);
        }

        bool decimalForm = digits.All(c => char.IsAsciiDigit(c) || c is '.' or 'e' or 'E' or '-' or '+') && digits.Any(char.IsAsciiDigit)
            && (char.IsAsciiDigit(digits[0]) || digits[0] == '.');
        return decimalForm && double.TryParse(plain, NumberStyles.Float, CultureInfo.InvariantCulture, out double real) && double.IsFinite(real)
            ? JsonValue.Create(real)
            : null;
    }

    // 0x1F, 0b101, 0o17 and 017 are whole numbers too.
    private static long? Whole(string digits)
    {
        if (digits.Length > 2 && digits[0] == '0' && char.ToLowerInvariant(digits[1]) is 'x' or 'b' or 'o' && digits.Length > 2)
        {
            int radix = char.ToLowerInvariant(digits[1]) switch { 'x' => 16, 'b' => 2, _ => 8 };
            return InRadix(digits[2..], radix);
        }

        if (digits.Length > 1 && digits[0] == '0' && digits.All(char.IsAsciiDigit))
        {
            return InRadix(digits, 8);
        }

        return long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;
    }

    private static long? InRadix(string digits, int radix)
    {
        long number = 0;
        foreach (char c in digits)
        {
            int digit = char.IsAsciiHexDigit(c) ? System.Convert.ToInt32(c.ToString(), 16) : 99;
            if (digit >= radix || number > (long.MaxValue - digit) / radix)
            {
                return null;
            }

            number = (number * radix) + digit;
        }

        return number;
    }
}

using System.Globalization;

namespace Kapell.Machinery;

/// <summary>The syntax of quantities: sign, digits, fraction, suffix (apimachinery: quantity.go parseQuantityString, suffix.go).</summary>
internal static class QuantityText
{
    public const string FormatWrong =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

    public const string NumericWrong = "unable to parse numeric part of quantity";

    public const string SuffixWrong = "unable to parse quantity's suffix";

    /// <summary>More digits than this are an attack, not an amount.</summary>
    public const int DigitsMax = 4096;

    private static readonly string[] Decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    private static readonly string[] Binary = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

    public readonly record struct Parts(bool Negative, string Whole, string Fraction, string Suffix);

    public static string DecimalSuffix(int exponent) => Decimal[(exponent + 9) / 3];

    public static string BinarySuffix(int power) => Binary[power];

    /// <summary>Leading zeros of the whole part are dropped; a whole part of nothing but zeros is "0".</summary>
    public static bool TrySplit(string text, out Parts parts)
    {
        parts = default;
        if (text.Length == 0)
        {
            return false;
        }

        int pos = text[0] is '-' or '+' ? 1 : 0;
        bool negative = text[0] == '-';
        while (pos < text.Length && text[pos] == '0')
        {
            pos++;
        }

        string whole = Digits(text, ref pos);
        string fraction = "";
        if (pos < text.Length && text[pos] == '.')
        {
            pos++;
            fraction = Digits(text, ref pos);
        }

        int suffix = pos;
        while (pos < text.Length && "eEinumkKMGTP".Contains(text[pos], StringComparison.Ordinal))
        {
            pos++;
        }

        if (pos < text.Length && text[pos] is '-' or '+')
        {
            pos++;
        }

        Digits(text, ref pos);
        parts = new Parts(negative, whole.Length == 0 ? "0" : whole, fraction, text[suffix..]);
        return pos == text.Length;
    }

    public static bool TryInterpretSuffix(string suffix, out bool binary, out int power, out QuantityFormat format)
    {
        binary = false;
        format = QuantityFormat.DecimalSI;
        int index = Array.IndexOf(Decimal, suffix);
        power = (index * 3) - 9;
        if (index >= 0)
        {
            return true;
        }

        index = Array.IndexOf(Binary, suffix);
        if (index > 0)
        {
            (binary, power, format) = (true, index * 10, QuantityFormat.BinarySI);
            return true;
        }

        format = QuantityFormat.DecimalExponent;
        return suffix.Length > 1 && suffix[0] is 'e' or 'E'
            && int.TryParse(suffix.AsSpan(1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out power);
    }

    private static string Digits(string text, ref int pos)
    {
        int start = pos;
        while (pos < text.Length && char.IsAsciiDigit(text[pos]))
        {
            pos++;
        }

        return text[start..pos];
    }
}

using System.Globalization;

namespace Kapell.Base;

/// <summary>Whole numbers as Go writes them: <c>10</c>, <c>0xA</c>, <c>0o12</c>, <c>012</c>, <c>0b1010</c>, <c>1_000</c>. Go: strconv, base 0</summary>
public static class GoNumber
{
    private const uint Octal = 8;
    private const uint Hexadecimal = 16;

    /// <exception cref="FormatException">It is no such number; one below zero is none.</exception>
    /// <exception cref="OverflowException">It is more than the bound.</exception>
    public static ulong ParseUnsigned(string text, ulong max = ulong.MaxValue) => Parse(text, text, max, "ParseUint");

    /// <exception cref="FormatException">It is no such number.</exception>
    /// <exception cref="OverflowException">It does not fit.</exception>
    public static long ParseSigned(string text)
    {
        bool negative = text.StartsWith('-');
        string digits = negative || text.StartsWith('+') ? text[1..] : text;
        ulong size = Parse(text, digits, long.MaxValue + (negative ? 1UL : 0UL), "ParseInt");
        return negative ? (long)(0 - size) : (long)size;
    }

    private static ulong Parse(string text, string digits, ulong max, string function)
    {
        FormatException NoNumber() => new($"strconv.{function}: parsing \"{text}\": invalid syntax");
        if (digits.StartsWith('_') || digits.EndsWith('_') || digits.Contains("__", StringComparison.Ordinal))
        {
            throw NoNumber();
        }

        char kind = digits.Length > 1 && digits[0] == '0' ? char.ToLowerInvariant(digits[1]) : ' ';
        (uint radix, int prefix) = kind switch
        {
            'x' => (Hexadecimal, 2),
            'o' => (Octal, 2),
            'b' => (2u, 2),
            ' ' => (10u, 0),
            _ => (Octal, 1),
        };
        string rest = digits[prefix..].Replace("_", "", StringComparison.Ordinal);
        if (rest.Length == 0)
        {
            throw NoNumber();
        }

        UInt128 value = 0;
        bool fits = true;
        foreach (char c in rest)
        {
            uint digit = char.IsAsciiHexDigit(c) ? uint.Parse(c.ToString(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : radix;
            if (digit >= radix)
            {
                throw NoNumber();
            }

            value = fits ? (value * radix) + digit : value;
            fits &= value <= max;
        }

        return fits ? (ulong)value : throw new OverflowException($"strconv.{function}: parsing \"{text}\": value out of range");
    }
}

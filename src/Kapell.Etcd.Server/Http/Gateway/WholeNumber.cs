using System.Globalization;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>A number of JSON that is whole, in whatever way it is written: 100, 1e2, 100.0, 1000e-1.</summary>
internal static class WholeNumber
{
    private const int DigitsMax = 20; // The largest of 64 bits has as many.

    /// <summary>False: it is no number, is not whole, or has more than twenty digits.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out Int128 number)
    {
        number = 0;
        bool negative = text is [(byte)'-', ..];
        ReadOnlySpan<byte> rest = negative ? text[1..] : text;
        ReadOnlySpan<byte> whole = Digits(ref rest);
        ReadOnlySpan<byte> fraction = [];
        if (rest is [(byte)'.', ..])
        {
            rest = rest[1..];
            fraction = Digits(ref rest);
            if (fraction.IsEmpty)
            {
                return false;
            }
        }

        if (whole.IsEmpty || (whole.Length > 1 && whole[0] == '0') || !TryExponent(rest, out int exponent))
        {
            return false;
        }

        whole = whole.TrimStart((byte)'0');
        fraction = fraction.TrimEnd((byte)'0');
        if (whole.IsEmpty && fraction.IsEmpty)
        {
            return true;
        }

        // Where the point is, counted from the first digit; nothing but zeros may lie behind it.
        long point = (long)whole.Length + exponent;
        if (point is < 0 or > DigitsMax || fraction.Length > Math.Max(exponent, 0))
        {
            return false;
        }

        for (int i = 0; i < Math.Max(whole.Length + fraction.Length, point); i++)
        {
            int digit = i < whole.Length ? whole[i] - '0' : i < whole.Length + fraction.Length ? fraction[i - whole.Length] - '0' : 0;
            if (i < point)
            {
                number = (number * 10) + digit;
            }
            else if (digit != 0)
            {
                return false;
            }
        }

        number = negative ? -number : number;
        return true;
    }

    private static bool TryExponent(ReadOnlySpan<byte> rest, out int exponent)
    {
        exponent = 0;
        return rest.IsEmpty || (rest[0] is (byte)'e' or (byte)'E'
            && int.TryParse(rest[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent));
    }

    private static ReadOnlySpan<byte> Digits(scoped ref ReadOnlySpan<byte> rest)
    {
        int length = rest.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        ReadOnlySpan<byte> digits = length < 0 ? rest : rest[..length];
        rest = rest[digits.Length..];
        return digits;
    }
}

using System.Globalization;
using System.Numerics;

namespace Kapell.Machinery;

/// <summary>How a quantity is written: <c>12e6</c>, <c>12Mi</c> or <c>12M</c>.</summary>
public enum QuantityFormat
{
    DecimalSI,
    BinarySI,
    DecimalExponent,
}

/// <summary>
/// A Kubernetes resource quantity (apimachinery api/resource Quantity): an exact decimal down to 10^-9 and the format it was
/// written in. Equality and order are those of the amount; <see cref="ToString"/> is the canonical text upstream would store.
/// </summary>
public readonly struct Quantity : IComparable<Quantity>, IEquatable<Quantity>
{
    /// <summary>Beyond this the smaller summand of a sum cannot matter to anyone, and exact digits would only feed an attacker.</summary>
    private const int ExponentGapMax = 4096;

    private const int NanoExponent = -9;
    private static readonly BigInteger BinaryMax = long.MaxValue;

    private readonly BigInteger _mantissa;
    private readonly int _exponent;
    private readonly string? _text;

    private Quantity(BigInteger mantissa, int exponent, QuantityFormat format, string? text = null)
    {
        while (!mantissa.IsZero && exponent is > 0 and < 19)
        {
            mantissa *= 10;
            exponent--;
        }

        _mantissa = mantissa;
        _exponent = mantissa.IsZero ? 0 : exponent;
        Format = format;
        _text = text;
    }

    public static Quantity Zero { get; }

    public QuantityFormat Format { get; }

    public bool IsZero => _mantissa.IsZero;

    public int Sign => _mantissa.Sign;

    /// <summary>The amount rounded up (away from zero) to a whole number, held within a long.</summary>
    public long Value => Scaled(0);

    /// <summary>The amount in thousandths, rounded up (away from zero), held within a long.</summary>
    public long MilliValue => Scaled(-3);

    public static Quantity FromValue(long value, QuantityFormat format) => new(value, 0, format);

    public static Quantity FromMilliValue(long milli, QuantityFormat format) => new(milli, -3, format);

    /// <exception cref="FormatException">With upstream's text.</exception>
    public static Quantity Parse(string text) =>
        TryParse(text, out Quantity quantity, out string error) ? quantity : throw new FormatException(error);

    public static bool TryParse(string? text, out Quantity quantity) => TryParse(text, out quantity, out _);

    /// <summary>False with upstream's reason in <paramref name="error"/>.</summary>
    public static bool TryParse(string? text, out Quantity quantity, out string error)
    {
        quantity = default;
        if (!QuantityText.TrySplit(text ?? "", out QuantityText.Parts parts))
        {
            error = QuantityText.FormatWrong;
            return false;
        }

        if (!QuantityText.TryInterpretSuffix(parts.Suffix, out bool binary, out int power, out QuantityFormat format))
        {
            error = QuantityText.SuffixWrong;
            return false;
        }

        string digits = parts.Whole + parts.Fraction;
        if (digits.Length > QuantityText.DigitsMax)
        {
            error = QuantityText.NumericWrong;
            return false;
        }

        error = "";
        BigInteger mantissa = BigInteger.Parse(digits.Length == 0 ? "0" : digits, NumberStyles.None, CultureInfo.InvariantCulture);
        long exponent = -parts.Fraction.Length;
        if (binary)
        {
            mantissa <<= power;
        }
        else
        {
            exponent += power;
        }

        bool fits = digits.Length <= 18 && exponent >= NanoExponent;
        bool verbatim = fits && (binary
            ? parts.Fraction.Length == 0 && digits.Length + (power * 3 / 10) + 1 <= 15 && (mantissa >> power & 7) != 0
            : exponent % 3 == 0 && !digits.EndsWith("000", StringComparison.Ordinal) && digits[0] != '0');
        quantity = Bounded(mantissa, (int)Math.Clamp(exponent, int.MinValue / 2, int.MaxValue / 2), parts.Negative, format, verbatim ? text : null);
        return true;
    }

    public Quantity Add(Quantity other)
    {
        QuantityFormat format = IsZero ? other.Format : Format;
        if (other.IsZero || IsZero)
        {
            return IsZero ? other : this;
        }

        if (Math.Abs((long)_exponent - other._exponent) > ExponentGapMax)
        {
            return _exponent > other._exponent ? this : other;
        }

        int exponent = Math.Min(_exponent, other._exponent);
        return new Quantity(At(exponent) + other.At(exponent), exponent, format);
    }

    public Quantity Sub(Quantity other) => Add(other.Negate()) is var result && IsZero ? new Quantity(result._mantissa, result._exponent, other.Format) : result;

    public Quantity Negate() => new(-_mantissa, _exponent, Format);

    public int CompareTo(Quantity other)
    {
        if (Sign != other.Sign || IsZero)
        {
            return Sign.CompareTo(other.Sign);
        }

        if (Math.Abs((long)_exponent - other._exponent) > ExponentGapMax)
        {
            return _exponent > other._exponent ? Sign : -Sign;
        }

        int exponent = Math.Min(_exponent, other._exponent);
        return At(exponent).CompareTo(other.At(exponent));
    }

    public bool Equals(Quantity other) => CompareTo(other) == 0;

    public override bool Equals(object? obj) => obj is Quantity other && Equals(other);

    public override int GetHashCode()
    {
        (BigInteger mantissa, long exponent) = WithoutTens();
        return HashCode.Combine(mantissa, exponent);
    }

    public static bool operator ==(Quantity a, Quantity b) => a.Equals(b);

    public static bool operator !=(Quantity a, Quantity b) => !a.Equals(b);

    public static bool operator <(Quantity a, Quantity b) => a.CompareTo(b) < 0;

    public static bool operator >(Quantity a, Quantity b) => a.CompareTo(b) > 0;

    public static bool operator <=(Quantity a, Quantity b) => a.CompareTo(b) <= 0;

    public static bool operator >=(Quantity a, Quantity b) => a.CompareTo(b) >= 0;

    public override string ToString()
    {
        if (_text is not null)
        {
            return _text;
        }

        if (IsZero)
        {
            return "0";
        }

        return Format == QuantityFormat.BinarySI && TryBinaryText(out string text) ? text : DecimalText();
    }

    /// <summary>The same amount whatever was written: <c>1.5</c> becomes <c>1500m</c>, <c>1024Mi</c> becomes <c>1Gi</c>.</summary>
    public string ToCanonicalString() => new Quantity(_mantissa, _exponent, Format).ToString();

    public double ToDouble() => (double)_mantissa * Math.Pow(10, _exponent);

    // Smaller than a nano is rounded up to one: who wants some gets some. Binary amounts stop at long.MaxValue.
    private static Quantity Bounded(BigInteger magnitude, int exponent, bool negative, QuantityFormat format, string? text)
    {
        if (exponent < NanoExponent && !magnitude.IsZero)
        {
            int drop = NanoExponent - exponent;
            magnitude = drop > QuantityText.DigitsMax + 32 ? BigInteger.One : DivideUp(magnitude, BigInteger.Pow(10, drop));
            exponent = NanoExponent;
        }

        if (format == QuantityFormat.BinarySI)
        {
            BigInteger one = BigInteger.Pow(10, -exponent);
            if (magnitude > BinaryMax * one)
            {
                (magnitude, exponent) = (BinaryMax, 0);
            }
            else if (magnitude < one && !magnitude.IsZero)
            {
                format = QuantityFormat.DecimalSI;
            }
        }

        return new Quantity(negative ? -magnitude : magnitude, exponent, format, text);
    }

    private BigInteger At(int exponent) => _mantissa * BigInteger.Pow(10, _exponent - exponent);

    private long Scaled(int scale)
    {
        if (IsZero)
        {
            return 0;
        }

        long shift = (long)_exponent - scale;
        if (shift > 40)
        {
            return Sign > 0 ? long.MaxValue : long.MinValue;
        }

        BigInteger value = shift >= 0
            ? _mantissa * BigInteger.Pow(10, (int)shift)
            : Sign * DivideUp(BigInteger.Abs(_mantissa), BigInteger.Pow(10, (int)-shift));
        return value > long.MaxValue ? long.MaxValue : value < long.MinValue ? long.MinValue : (long)value;
    }

    private static BigInteger DivideUp(BigInteger magnitude, BigInteger divisor)
    {
        BigInteger quotient = BigInteger.DivRem(magnitude, divisor, out BigInteger rest);
        return rest.IsZero ? quotient : quotient + 1;
    }

    private (BigInteger Mantissa, long Exponent) WithoutTens()
    {
        BigInteger mantissa = _mantissa;
        long exponent = _exponent;
        while (!mantissa.IsZero)
        {
            BigInteger quotient = BigInteger.DivRem(mantissa, 10, out BigInteger rest);
            if (!rest.IsZero)
            {
                break;
            }

            mantissa = quotient;
            exponent++;
        }

        return (mantissa, exponent);
    }

    private string DecimalText()
    {
        (BigInteger mantissa, long exponent) = WithoutTens();
        while (exponent % 3 != 0 || (Format != QuantityFormat.DecimalExponent && exponent > 18))
        {
            mantissa *= 10;
            exponent--;
        }

        string suffix = Format == QuantityFormat.DecimalExponent
            ? exponent == 0 ? "" : "e" + exponent.ToString(CultureInfo.InvariantCulture)
            : QuantityText.DecimalSuffix((int)exponent);
        return mantissa.ToString(CultureInfo.InvariantCulture) + suffix;
    }

    // Below 1024, or with a fraction, a binary quantity is written as a decimal one: no precision may be lost.
    private bool TryBinaryText(out string text)
    {
        text = "";
        if (_exponent < 0 && !(_mantissa % BigInteger.Pow(10, -_exponent)).IsZero)
        {
            return false;
        }

        BigInteger whole = _exponent < 0 ? _mantissa / BigInteger.Pow(10, -_exponent) : At(0);
        if (BigInteger.Abs(whole) < 1024)
        {
            return false;
        }

        int power = 0;
        while (power < 6 && (whole % 1024).IsZero)
        {
            whole /= 1024;
            power++;
        }

        text = whole.ToString(CultureInfo.InvariantCulture) + QuantityText.BinarySuffix(power);
        return true;
    }
}

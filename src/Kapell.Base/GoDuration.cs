using System.Globalization;
using System.Text;

namespace Kapell.Base;

/// <summary>Durations as Go writes them: <c>1h30m</c>, <c>500ms</c>, <c>1.5s</c>; resolution 100 ns.</summary>
public static class GoDuration
{
    private static readonly (string Unit, double Ticks)[] Units =
    [
        ("ns", 0.01), ("us", 10), ("µs", 10), ("ms", TimeSpan.TicksPerMillisecond), ("s", TimeSpan.TicksPerSecond),
        ("m", TimeSpan.TicksPerMinute), ("h", TimeSpan.TicksPerHour),
    ];

    /// <exception cref="FormatException">The text is no duration.</exception>
    public static TimeSpan Parse(string text)
    {
        string rest = text;
        bool negative = rest.StartsWith('-');
        rest = rest.TrimStart('-', '+');
        if (rest == "0")
        {
            return TimeSpan.Zero;
        }

        if (rest.Length == 0)
        {
            throw new FormatException($"time: invalid duration \"{text}\"");
        }

        double ticks = 0;
        while (rest.Length > 0)
        {
            int digits = 0;
            while (digits < rest.Length && (char.IsAsciiDigit(rest[digits]) || rest[digits] == '.'))
            {
                digits++;
            }

            int letters = digits;
            while (letters < rest.Length && !char.IsAsciiDigit(rest[letters]) && rest[letters] != '.')
            {
                letters++;
            }

            if (digits == 0 || !double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number))
            {
                throw new FormatException($"time: invalid duration \"{text}\"");
            }

            string unit = rest[digits..letters];
            if (unit.Length == 0)
            {
                throw new FormatException($"time: missing unit in duration \"{text}\"");
            }

            int index = Array.FindIndex(Units, u => u.Unit == unit);
            if (index < 0)
            {
                throw new FormatException($"time: unknown unit \"{unit}\" in duration \"{text}\"");
            }

            ticks += number * Units[index].Ticks;
            rest = rest[letters..];
        }

        return ticks > long.MaxValue
            ? throw new FormatException($"time: invalid duration \"{text}\"")
            : TimeSpan.FromTicks((long)Math.Round(negative ? -ticks : ticks));
    }

    public static string Format(TimeSpan value)
    {
        if (value == TimeSpan.Zero)
        {
            return "0s";
        }

        StringBuilder text = new(value < TimeSpan.Zero ? "-" : "");
        value = value.Duration();
        if (value < TimeSpan.FromSeconds(1))
        {
            double micros = value.Ticks / 10.0;
            return text.Append(micros < 1000
                ? micros.ToString("0.###", CultureInfo.InvariantCulture) + "µs"
                : (micros / 1000).ToString("0.######", CultureInfo.InvariantCulture) + "ms").ToString();
        }

        long hours = (long)value.TotalHours;
        if (hours > 0)
        {
            text.Append(hours).Append('h');
        }

        if (hours > 0 || value.Minutes > 0)
        {
            text.Append(value.Minutes).Append('m');
        }

        double seconds = value.Seconds + ((value.Ticks % TimeSpan.TicksPerSecond) / (double)TimeSpan.TicksPerSecond);
        return text.Append(seconds.ToString("0.#######", CultureInfo.InvariantCulture)).Append('s').ToString();
    }
}

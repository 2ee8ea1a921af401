using System.Globalization;
using Kapell.Base;

namespace Kapell.Controllers.CronJobs;

/// <summary>
/// A cron schedule of five fields, a descriptor (@daily), or @every DURATION, as robfig/cron's ParseStandard reads it. When both day fields
/// are restricted, either of them may match. Walks the wall clock of a zone: hours that a zone skips do not come.
/// </summary>
internal sealed class CronSchedule
{
    private const int YearsMax = 5;

    private static readonly (int Min, int Max, string[] Names)[] Fields =
    [
        (0, 59, []), (0, 23, []), (1, 31, []),
        (1, 12, ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
        (0, 6, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];

    private readonly ulong[] _bits = new ulong[Fields.Length];
    private readonly bool[] _star = new bool[Fields.Length];
    private readonly TimeSpan _every;

    private CronSchedule(TimeSpan every) => _every = every;

    /// <exception cref="FormatException">With upstream's words for what is wrong.</exception>
    public static CronSchedule Parse(string text)
    {
        if (text.StartsWith("@every ", StringComparison.Ordinal))
        {
            TimeSpan every = GoDuration.Parse(text["@every ".Length..]);
            TimeSpan whole = TimeSpan.FromSeconds(Math.Floor(every.TotalSeconds));
            return new CronSchedule(whole < TimeSpan.FromSeconds(1) ? TimeSpan.FromSeconds(1) : whole);
        }

        string[] fields = (text.StartsWith('@') ? Descriptor(text) : text).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length != Fields.Length)
        {
            throw new FormatException($"expected exactly 5 fields, found {fields.Length}: [{string.Join(' ', fields)}]");
        }

        CronSchedule schedule = new(TimeSpan.Zero);
        for (int i = 0; i < fields.Length; i++)
        {
            foreach (string range in fields[i].Split(','))
            {
                schedule.Add(i, range);
            }
        }

        return schedule;
    }

    /// <summary>The first time after <paramref name="after"/>, or null when there is none within five years.</summary>
    public DateTimeOffset? Next(DateTimeOffset after, TimeZoneInfo zone)
    {
        if (_every > TimeSpan.Zero)
        {
            return after.AddTicks(-(after.Ticks % TimeSpan.TicksPerSecond)) + _every;
        }

        DateTimeOffset t = after.AddTicks(-(after.UtcTicks % TimeSpan.TicksPerMinute)).AddMinutes(1).ToUniversalTime();
        DateTimeOffset limit = after.AddYears(YearsMax);
        while (t < limit)
        {
            DateTime wall = TimeZoneInfo.ConvertTime(t, zone).DateTime;
            if (!Has(3, wall.Month))
            {
                t = Start(new DateTime(wall.Year, wall.Month, 1).AddMonths(1), zone, t);
            }
            else if (!DayMatches(wall))
            {
                t = Start(wall.Date.AddDays(1), zone, t);
            }
            else if (!Has(1, wall.Hour))
            {
                t = t.AddMinutes(60 - wall.Minute);
            }
            else if (!Has(0, wall.Minute))
            {
                t = t.AddMinutes(1);
            }
            else
            {
                return t;
            }
        }

        return null;
    }

    // A day may begin later than midnight where the zone skips it.
    private static DateTimeOffset Start(DateTime wall, TimeZoneInfo zone, DateTimeOffset atLeast)
    {
        while (zone.IsInvalidTime(wall))
        {
            wall = wall.AddMinutes(15);
        }

        DateTimeOffset start = new DateTimeOffset(wall, zone.GetUtcOffset(wall)).ToUniversalTime();
        return start > atLeast ? start : atLeast.AddMinutes(1);
    }

    private static string Descriptor(string text) => text switch
    {
        "@yearly" or "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" or "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => throw new FormatException("unrecognized descriptor: " + text),
    };

    private static int Number(string text, int field)
    {
        int named = Array.IndexOf(Fields[field].Names, text.ToLowerInvariant());
        return named >= 0 ? named + Fields[field].Min
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n
            : throw new FormatException($"failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax");
    }

    private void Add(int field, string expression)
    {
        (int min, int max, _) = Fields[field];
        string[] stepped = expression.Split('/');
        string[] ends = stepped[0].Split('-');
        if (stepped.Length > 2 || ends.Length > 2)
        {
            throw new FormatException((stepped.Length > 2 ? "too many slashes: " : "too many hyphens: ") + expression);
        }

        bool star = ends[0] is "*" or "?";
        int step = stepped.Length == 2 ? Number(stepped[1], field) : 1;
        int start = star ? min : Number(ends[0], field);
        int end = star ? max : ends.Length == 2 ? Number(ends[1], field) : stepped.Length == 2 ? max : start;
        if (start < min || end > max || start > end || step == 0)
        {
            throw new FormatException(step == 0 ? $"step of range should be a positive number: {expression}"
                : start < min ? $"beginning of range ({start}) below minimum ({min}): {expression}"
                : end > max ? $"end of range ({end}) above maximum ({max}): {expression}"
                : $"beginning of range ({start}) beyond end of range ({end}): {expression}");
        }

        for (int i = start; i <= end; i += step)
        {
            _bits[field] |= 1UL << i;
        }

        _star[field] |= star && step == 1;
    }

    private bool Has(int field, int value) => (_bits[field] & (1UL << value)) != 0;

    private bool DayMatches(DateTime wall)
    {
        bool month = Has(2, wall.Day), week = Has(4, (int)wall.DayOfWeek);
        return _star[2] || _star[4] ? month && week : month || week;
    }
}

using System.Globalization;

namespace Kapell.ApiServer.Registry.Resources;

/// <summary>The spelling of cron schedules, five fields or a descriptor (robfig/cron, ParseStandard).</summary>
internal static class CronSchedules
{
    private static readonly (int Min, int Max, string[] Names)[] Fields =
    [
        (0, 59, []),
        (0, 23, []),
        (1, 31, []),
        (1, 12, ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
        (0, 6, ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
    ];

    /// <summary>What is wrong with a schedule, or null.</summary>
    public static string? FaultOf(string schedule)
    {
        if (schedule.Contains("TZ", StringComparison.Ordinal))
        {
            return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        }

        if (schedule.StartsWith('@'))
        {
            return schedule is "@yearly" or "@annually" or "@monthly" or "@weekly" or "@daily" or "@midnight" or "@hourly"
                || (schedule.StartsWith("@every ", StringComparison.Ordinal) && IsDuration(schedule[7..]))
                ? null
                : "unrecognized descriptor: " + schedule;
        }

        string[] fields = schedule.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length != Fields.Length)
        {
            return $"expected exactly 5 fields, found {fields.Length}: [{string.Join(' ', fields)}]";
        }

        for (int i = 0; i < fields.Length; i++)
        {
            foreach (string range in fields[i].Split(','))
            {
                if (RangeFault(range, Fields[i].Min, Fields[i].Max, Fields[i].Names) is { } fault)
                {
                    return fault;
                }
            }
        }

        return null;
    }

    private static string? RangeFault(string expression, int min, int max, string[] names)
    {
        string[] stepped = expression.Split('/');
        string[] ends = stepped[0].Split('-');
        if (stepped.Length > 2)
        {
            return "too many slashes: " + expression;
        }

        if (ends.Length > 2)
        {
            return "too many hyphens: " + expression;
        }

        int start = min;
        int end = max;
        if (ends[0] is not ("*" or "?"))
        {
            if (!TryNumber(ends[0], min, names, out start))
            {
                return $"failed to parse int from {ends[0]}: strconv.Atoi: parsing \"{ends[0]}\": invalid syntax";
            }

            end = stepped.Length == 2 ? max : start;
            if (ends.Length == 2 && !TryNumber(ends[1], min, names, out end))
            {
                return $"failed to parse int from {ends[1]}: strconv.Atoi: parsing \"{ends[1]}\": invalid syntax";
            }
        }

        if (stepped.Length == 2 && (!int.TryParse(stepped[1], NumberStyles.None, CultureInfo.InvariantCulture, out int step) || step == 0))
        {
            return stepped[1] == "0" ? "step of range should be a positive number: " + expression
                : $"failed to parse int from {stepped[1]}: strconv.Atoi: parsing \"{stepped[1]}\": invalid syntax";
        }

        return start < min ? $"beginning of range ({start}) below minimum ({min}): {expression}"
            : end > max ? $"end of range ({end}) above maximum ({max}): {expression}"
            : start > end ? $"beginning of range ({start}) beyond end of range ({end}): {expression}"
            : null;
    }

    private static bool IsDuration(string text)
    {
        try
        {
            Base.GoDuration.Parse(text);
            return true;
        }
        catch (FormatException)
        {
            return false;
        }
    }

    private static bool TryNumber(string text, int first, string[] names, out int number)
    {
        int named = Array.IndexOf(names, text.ToLowerInvariant());
        number = named + first;
        return named >= 0 || int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }
}

using System.Globalization;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.ApiServer.Tables;

/// <summary>Durations as <c>kubectl get</c> shows them: two units at most, fewer digits the longer (apimachinery: duration.HumanDuration).</summary>
public static class HumanDuration
{
    private const string Unknown = "<unknown>";

    public static string Format(TimeSpan duration)
    {
        long seconds = (long)duration.TotalSeconds;
        long minutes = (long)duration.TotalMinutes;
        long hours = (long)duration.TotalHours;
        return seconds switch
        {
            // Up to two seconds of disagreement between two clocks read as "now".
            < -1 => "<invalid>",
            < 0 => "0s",
            < 120 => $"{seconds}s",
            _ when minutes < 10 => Pair(minutes, "m", seconds % 60, "s"),
            _ when minutes < 180 => $"{minutes}m",
            _ when hours < 8 => Pair(hours, "h", minutes % 60, "m"),
            _ when hours < 48 => $"{hours}h",
            _ when hours < 24 * 8 => Pair(hours / 24, "d", hours % 24, "h"),
            _ when hours < 24 * 365 * 2 => $"{hours / 24}d",
            _ when hours < 24 * 365 * 8 => Pair(hours / 24 / 365, "y", hours / 24 % 365, "d"),
            _ => $"{hours / 24 / 365}y",
        };
    }

    /// <summary>How long ago an RFC 3339 text was; <c>&lt;unknown&gt;</c> when it is empty or no time.</summary>
    public static string Since(string time, DateTimeOffset now) =>
        TryParse(time, out DateTimeOffset then) ? Format(now - then) : Unknown;

    /// <summary>The AGE cell of any object.</summary>
    public static string Age(JsonElement anObject, DateTimeOffset now) => Since(anObject.Get("metadata").Text("creationTimestamp"), now);

    public static bool TryParse(string time, out DateTimeOffset value) =>
        DateTimeOffset.TryParse(time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out value);

    private static string Pair(long big, string bigUnit, long small, string smallUnit) =>
        small == 0 ? $"{big}{bigUnit}" : $"{big}{bigUnit}{small}{smallUnit}";
}

using System.Globalization;

namespace Kapell.Controllers.Shared;

/// <summary>Times as API objects write them.</summary>
internal static class Times
{
    /// <summary>metav1.Time: whole seconds, UTC.</summary>
    public static string Text(DateTimeOffset t) => t.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    public static bool TryParse(string text, out DateTimeOffset t) => DateTimeOffset.TryParse(
        text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out t);
}

using System.Globalization;
using System.Text.Json;

namespace Kapell.Controllers.Shared;

/// <summary>intstr.IntOrString where it stands for a number or a share.</summary>
internal static class IntOrPercent
{
    public static long Scale(JsonElement value, long total, bool roundUp, long absent)
    {
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long n))
        {
            return n;
        }

        if (value.ValueKind == JsonValueKind.String && value.GetString() is { } text && text.EndsWith('%')
            && long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out long percent))
        {
            double exact = percent * (double)total / 100;
            return (long)(roundUp ? Math.Ceiling(exact) : Math.Floor(exact));
        }

        return absent;
    }
}

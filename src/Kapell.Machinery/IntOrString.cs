using System.Globalization;
using System.Text.Json;

namespace Kapell.Machinery;

/// <summary>A port by number or name, a count by number or percentage (apimachinery intstr.IntOrString).</summary>
public readonly record struct IntOrString(bool IsText, int Number, string Text)
{
    public static IntOrString Of(int number) => new(false, number, "");

    public static IntOrString Of(string text) => new(true, 0, text);

    /// <summary>Null when the element is absent or neither an int32 nor a string.</summary>
    public static IntOrString? From(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Number when element.TryGetInt32(out int n) => Of(n),
        JsonValueKind.String => Of(element.GetString()!),
        _ => null,
    };

    public static IntOrString? From(System.Text.Json.Nodes.JsonNode? node) => node switch
    {
        System.Text.Json.Nodes.JsonValue v when v.TryGetValue(out int n) => Of(n),
        System.Text.Json.Nodes.JsonValue v when v.TryGetValue(out string? s) => Of(s),
        _ => null,
    };

    /// <summary>The number, or the percentage of <paramref name="total"/> rounded as told; false with upstream's text when it is neither.</summary>
    public bool TryScaled(int total, bool roundUp, out int value, out string error)
    {
        value = Number;
        error = "";
        if (!IsText)
        {
            return true;
        }

        if (!Text.EndsWith('%'))
        {
            error = "invalid value for IntOrString: invalid type: string is not a percentage";
            return false;
        }

        if (!int.TryParse(Text.AsSpan(0, Text.Length - 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int percent))
        {
            error = $"invalid value for IntOrString: invalid value \"{Text}\": strconv.Atoi: parsing \"{Text[..^1]}\": invalid syntax";
            return false;
        }

        long scaled = (long)percent * total;
        long whole = roundUp ? (long)Math.Ceiling(scaled / 100.0) : (long)Math.Floor(scaled / 100.0);
        value = (int)Math.Clamp(whole, int.MinValue, int.MaxValue);
        return true;
    }

    public override string ToString() => IsText ? Text : Number.ToString(CultureInfo.InvariantCulture);
}

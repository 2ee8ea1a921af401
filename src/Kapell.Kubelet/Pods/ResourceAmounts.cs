using System.Globalization;
using System.Text.Json;
using Kapell.Machinery;

namespace Kapell.Kubelet.Pods;

/// <summary>
/// Amounts of resources as numbers for arithmetic (cores, bytes). The API server has validated them; what still cannot be read
/// counts as absent.
/// </summary>
internal static class ResourceAmounts
{
    private static readonly (string Suffix, decimal Factor)[] Suffixes =
    [
        ("Ki", 1024m), ("Mi", 1024m * 1024), ("Gi", 1024m * 1024 * 1024), ("Ti", 1024m * 1024 * 1024 * 1024),
        ("Pi", 1024m * 1024 * 1024 * 1024 * 1024), ("Ei", 1024m * 1024 * 1024 * 1024 * 1024 * 1024),
        ("n", 1e-9m), ("u", 1e-6m), ("m", 1e-3m), ("k", 1e3m), ("M", 1e6m), ("G", 1e9m), ("T", 1e12m), ("P", 1e15m), ("E", 1e18m),
    ];

    public static decimal Of(JsonElement list, string name)
    {
        JsonElement value = list.Get(name);
        string text = value.ValueKind switch
        {
            JsonValueKind.String => value.GetString()!,
            JsonValueKind.Number => value.GetRawText(),
            _ => "",
        };
        return TryParse(text, out decimal amount) ? amount : 0;
    }

    public static bool TryParse(string text, out decimal amount)
    {
        amount = 0;
        if (text.Length is 0 or > 40)
        {
            return false;
        }

        decimal factor = 1;
        string digits = text;
        foreach ((string suffix, decimal f) in Suffixes)
        {
            if (text.EndsWith(suffix, StringComparison.Ordinal))
            {
                factor = f;
                digits = text[..^suffix.Length];
                break;
            }
        }

        if (!decimal.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out decimal number))
        {
            return false;
        }

        try
        {
            amount = number * factor;
            return true;
        }
        catch (OverflowException)
        {
            return false;
        }
    }
}

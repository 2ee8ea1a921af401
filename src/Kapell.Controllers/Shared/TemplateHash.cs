using System.Globalization;
using System.Text.Json.Nodes;
using Kapell.Machinery;

namespace Kapell.Controllers.Shared;

/// <summary>
/// The short name of a pod template: FNV-1a 32 over its canonical JSON and the collision count, as a decimal in the alphabet without
/// vowels (upstream: ComputeHash and rand.SafeEncodeString; there the bytes are a Go dump, so the values differ and may).
/// </summary>
internal static class TemplateHash
{
    private const string Alphabet = "bcdfghjklmnpqrstvwxz2456789";

    public static string Of(JsonNode? template, long? collisionCount)
    {
        uint hash = 2166136261;
        foreach (byte b in JsonBytes.Of(Documents.Canonical(template) ?? new JsonObject()))
        {
            hash = unchecked((hash ^ b) * 16777619);
        }

        if (collisionCount is { } count)
        {
            for (int i = 0; i < 8; i++)
            {
                hash = unchecked((hash ^ (byte)(count >> (8 * i))) * 16777619);
            }
        }

        return SafeEncode(hash.ToString(CultureInfo.InvariantCulture));
    }

    public static string SafeEncode(string text) => string.Create(text.Length, text, static (span, s) =>
    {
        for (int i = 0; i < span.Length; i++)
        {
            span[i] = Alphabet[s[i] % Alphabet.Length];
        }
    });
}

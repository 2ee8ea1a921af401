using System.Buffers;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>Base64 as Go's readers of messages take it: either alphabet, padded or not, with line ends in it.</summary>
internal static class Base64Text
{
    private static readonly SearchValues<char> Standard = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n");
    private static readonly SearchValues<char> ForUrls = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=\r\n");

    /// <summary>False: it is none; not both alphabets in one, and no padding that is short or follows what needs none.</summary>
    public static bool TryDecode(string text, out byte[] bytes)
    {
        bytes = [];
        bool forUrls = text.AsSpan().ContainsAny('-', '_');
        bool padded = text.Length % 4 == 0;
        if (text.AsSpan().ContainsAnyExcept(forUrls ? ForUrls : Standard) || (!padded && text.Contains('=', StringComparison.Ordinal)))
        {
            return false;
        }

        string plain = text.ReplaceLineEndings("").Replace('-', '+').Replace('_', '/');
        if (!padded)
        {
            plain = plain.PadRight((plain.Length + 3) / 4 * 4, '=');
        }

        bytes = new byte[plain.Length / 4 * 3];
        if (!Convert.TryFromBase64String(plain, bytes, out int length))
        {
            return false;
        }

        Array.Resize(ref bytes, length);
        return true;
    }
}

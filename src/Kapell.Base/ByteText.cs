using System.Globalization;
using System.Text;

namespace Kapell.Base;

/// <summary>Bytes for people.</summary>
public static class ByteText
{
    /// <summary>As they are where they are plain text (without quotes and backslashes), otherwise by their numbers.</summary>
    /// <param name="shownMax">What is beyond stands as three dots.</param>
    public static string Show(ReadOnlySpan<byte> bytes, int shownMax)
    {
        StringBuilder text = new();
        foreach (byte b in bytes[..Math.Min(bytes.Length, shownMax)])
        {
            _ = b is > 0x1F and < 0x7F and not (byte)'"' and not (byte)'\\'
                ? text.Append((char)b)
                : text.Append("\\x").Append(b.ToString("x2", CultureInfo.InvariantCulture));
        }

        return text.Append(bytes.Length > shownMax ? "..." : "").ToString();
    }
}

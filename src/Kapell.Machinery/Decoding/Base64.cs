namespace Kapell.Machinery.Decoding;

/// <summary>Where base64 text goes wrong, as Go's decoder counts it. Line breaks are skipped, padding is demanded.</summary>
internal static class Base64
{
    /// <summary>-1 when the text is good.</summary>
    public static int FirstFault(string text)
    {
        int inGroup = 0;
        int padding = 0;
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c is '\r' or '\n')
            {
                continue;
            }

            if (c == '=')
            {
                padding++;
                if (inGroup < 2 || inGroup + padding > 4)
                {
                    return i;
                }
            }
            else if (padding > 0 || !(char.IsAsciiLetterOrDigit(c) || c is '+' or '/'))
            {
                return i;
            }
            else
            {
                inGroup = (inGroup % 4) + 1;
            }
        }

        return (inGroup % 4) == 0 && padding == 0 || inGroup + padding == 4 ? -1 : text.Length - (inGroup % 4);
    }
}

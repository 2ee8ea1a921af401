namespace Kapell.Etcd.Server.Http2;

/// <summary>HPACK's Huffman code (RFC 7541 appendix B). It is canonical: the lengths of the codes determine the codes.</summary>
internal static class HpackHuffman
{
    // The length in bits of the code of each byte, two hexadecimal digits each; the end mark has 30 ones.
    private const string Lengths =
        "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
        + "0d06070707070707070707070707070707070707070707070807080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
        + "141614141616161716171717171718171818161718171717171516171617171816151416161717151716161815161717151516151716171714161616171616171a"
        + "1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a";

    private const int LengthMax = 30;
    private static readonly Table Codes = new();

    /// <summary>At most this many bytes come of so many: the shortest code has five bits.</summary>
    public static int DecodedBytesMax(int encoded) => (encoded * 8 / 5) + 1;

    /// <summary>False when the bytes are no such code, or are padded wrongly.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> encoded, Span<byte> into, out int written)
    {
        written = 0;
        uint code = 0;
        int length = 0;
        foreach (byte b in encoded)
        {
            for (int bit = 7; bit >= 0; bit--)
            {
                code = (code << 1) | (uint)((b >> bit) & 1);
                length++;
                int symbol = Codes.Find(code, length);
                if (symbol >= 0)
                {
                    into[written++] = (byte)symbol;
                    (code, length) = (0, 0);
                }
                else if (length == LengthMax)
                {
                    return false;
                }
            }
        }

        // Padding is the beginning of the end mark: fewer than eight ones.
        return length < 8 && code == (1u << length) - 1;
    }

    private sealed class Table
    {
        private readonly uint[] _first = new uint[LengthMax + 1];
        private readonly int[] _offset = new int[LengthMax + 1];
        private readonly int[] _count = new int[LengthMax + 1];
        private readonly byte[] _symbols = new byte[256];

        public Table()
        {
            byte[] lengths = Convert.FromHexString(Lengths);
            uint code = 0;
            int at = 0;
            for (int length = 1; length <= LengthMax; length++)
            {
                code <<= 1;
                _first[length] = code;
                _offset[length] = at;
                for (int symbol = 0; symbol < lengths.Length; symbol++)
                {
                    if (lengths[symbol] == length)
                    {
                        _symbols[at++] = (byte)symbol;
                        code++;
                    }
                }

                _count[length] = at - _offset[length];
            }
        }

        public int Find(uint code, int length)
        {
            uint place = code - _first[length];
            return code >= _first[length] && place < (uint)_count[length] ? _symbols[_offset[length] + (int)place] : -1;
        }
    }
}

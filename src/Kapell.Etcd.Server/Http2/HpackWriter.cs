using System.Buffers;
using System.Text;

namespace Kapell.Etcd.Server.Http2;

/// <summary>Writes response headers without a table of our own: the few that we send are short.</summary>
internal static class HpackWriter
{
    /// <summary>Literal without indexing, name and value as they are. Names are lower-case.</summary>
    public static void Write(ArrayBufferWriter<byte> output, string name, string value)
    {
        Byte(output, 0);
        Text(output, name);
        Text(output, value);
    }

    /// <summary>The status, indexed where HPACK has it.</summary>
    public static void Status(ArrayBufferWriter<byte> output, int status)
    {
        int indexed = status switch { 200 => 8, 204 => 9, 400 => 12, 404 => 13, 500 => 14, _ => 0 };
        if (indexed > 0)
        {
            Byte(output, (byte)(0x80 | indexed));
            return;
        }

        // Literal without indexing, the name from the table.
        Byte(output, 0x08);
        Text(output, status.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    private static void Byte(ArrayBufferWriter<byte> output, byte value)
    {
        output.GetSpan(1)[0] = value;
        output.Advance(1);
    }

    private static void Text(ArrayBufferWriter<byte> output, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        int length = bytes.Length;
        if (length < 127)
        {
            Byte(output, (byte)length);
        }
        else
        {
            Byte(output, 127);
            length -= 127;
            while (length >= 128)
            {
                Byte(output, (byte)((length & 0x7f) | 0x80));
                length >>= 7;
            }

            Byte(output, (byte)length);
        }

        output.Write(bytes);
    }
}

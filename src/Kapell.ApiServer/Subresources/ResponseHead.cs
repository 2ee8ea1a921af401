using System.Globalization;
using System.Text;

namespace Kapell.ApiServer.Subresources;

/// <summary>The head of an HTTP/1.1 answer read from a raw connection, with whatever bytes came after it.</summary>
internal sealed record ResponseHead(int Code, IReadOnlyList<(string Name, string Value)> Headers, ReadOnlyMemory<byte> Rest)
{
    private const int BytesMax = 64 * 1024;

    public static async Task<ResponseHead> ReadAsync(Stream stream, CancellationToken cancel)
    {
        byte[] buffer = new byte[BytesMax];
        int length = 0;
        while (length < buffer.Length)
        {
            int read = await stream.ReadAsync(buffer.AsMemory(length), cancel);
            if (read == 0)
            {
                throw new IOException("the backend closed the connection before it answered");
            }

            length += read;
            int end = buffer.AsSpan(0, length).IndexOf("\r\n\r\n"u8);
            if (end >= 0)
            {
                return Parse(Encoding.Latin1.GetString(buffer, 0, end), buffer.AsMemory(end + 4, length - end - 4));
            }
        }

        throw new IOException($"the backend's response head is larger than {BytesMax} bytes");
    }

    /// <summary>What is left of the body up to a limit; for errors only.</summary>
    public async Task<string> ReadBodyAsync(Stream stream, int bytesMax, CancellationToken cancel)
    {
        string stated = Headers.FirstOrDefault(h => h.Name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase)).Value ?? "";
        bool known = int.TryParse(stated, NumberStyles.None, CultureInfo.InvariantCulture, out int wanted);
        wanted = known ? Math.Min(wanted, bytesMax) : bytesMax;
        byte[] body = new byte[wanted];
        int length = Math.Min(Rest.Length, wanted);
        Rest[..length].CopyTo(body);
        length += await stream.ReadAtLeastAsync(body.AsMemory(length), wanted - length, throwOnEndOfStream: false, cancel);
        bool chunked = Headers.Any(h => h.Name.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase));
        string text = Encoding.UTF8.GetString(body, 0, length);
        return chunked ? Unchunk(text) : text;
    }

    private static ResponseHead Parse(string head, ReadOnlyMemory<byte> rest)
    {
        string[] lines = head.Split("\r\n");
        string[] status = lines[0].Split(' ', 3);
        if (status.Length < 2 || !status[0].StartsWith("HTTP/1.", StringComparison.Ordinal)
            || !int.TryParse(status[1], NumberStyles.None, CultureInfo.InvariantCulture, out int code))
        {
            throw new IOException("the backend does not speak HTTP/1.1");
        }

        List<(string, string)> headers = [];
        foreach (string line in lines.Skip(1))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0)
            {
                headers.Add((line[..colon].Trim(), line[(colon + 1)..].Trim()));
            }
        }

        return new ResponseHead(code, headers, rest);
    }

    private static string Unchunk(string text)
    {
        StringBuilder plain = new();
        int at = 0;
        while (at < text.Length)
        {
            int line = text.IndexOf("\r\n", at, StringComparison.Ordinal);
            if (line < 0 || !int.TryParse(text.AsSpan(at, line - at), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out int size) || size <= 0)
            {
                break;
            }

            int from = line + 2;
            plain.Append(text, from, Math.Min(size, text.Length - from));
            at = from + size + 2;
        }

        return plain.ToString();
    }
}

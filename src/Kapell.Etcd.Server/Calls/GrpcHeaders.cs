using System.Buffers;
using System.Globalization;
using System.Text;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Etcd.Server.Calls;

/// <summary>The header blocks of gRPC responses, and what gRPC puts into request headers.</summary>
internal static class GrpcHeaders
{
    public static byte[] Response()
    {
        ArrayBufferWriter<byte> block = new();
        Begin(block);
        return block.WrittenSpan.ToArray();
    }

    public static byte[] Trailers(Status status, Metadata? more)
    {
        ArrayBufferWriter<byte> block = new();
        End(block, status, more);
        return block.WrittenSpan.ToArray();
    }

    /// <summary>Of a call that ends without a message: headers and trailers in one.</summary>
    public static byte[] TrailersOnly(Status status, Metadata? more, int http = 200)
    {
        ArrayBufferWriter<byte> block = new();
        Begin(block, http);
        End(block, status, more);
        return block.WrittenSpan.ToArray();
    }

    public static Status NoDecompressor(string encoding) =>
        new(StatusCode.Unimplemented, $"grpc: Decompressor is not installed for grpc-encoding \"{encoding}\"");

    /// <summary><c>100m</c>: up to eight digits and a unit.</summary>
    public static bool TryTimeout(ReadOnlySpan<byte> text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > 9)
        {
            return false;
        }

        long number = 0;
        foreach (byte digit in text[..^1])
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false;
            }

            number = (number * 10) + (digit - '0');
        }

        double seconds = text[^1] switch
        {
            (byte)'H' => 3600,
            (byte)'M' => 60,
            (byte)'S' => 1,
            (byte)'m' => 1e-3,
            (byte)'u' => 1e-6,
            (byte)'n' => 1e-9,
            _ => -1,
        };

        // Upwards, so that the shortest is no zero, which stands for none.
        timeout = TimeSpan.FromTicks((long)Math.Ceiling(Math.Min(number * Math.Max(seconds, 0), 1e9) * TimeSpan.TicksPerSecond));
        return seconds > 0;
    }

    public static Metadata ToMetadata(IReadOnlyList<HpackHeader> headers)
    {
        Metadata metadata = [];
        foreach (HpackHeader header in headers)
        {
            string name = header.NameText;
            if (name.Length == 0 || name[0] == ':' || name is "te" or "content-type" or "grpc-timeout" or "grpc-encoding" or "grpc-accept-encoding")
            {
                continue;
            }

            try
            {
                if (name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.Ordinal))
                {
                    string padded = header.ValueText.PadRight((header.ValueText.Length + 3) / 4 * 4, '=');
                    metadata.Add(name, Convert.FromBase64String(padded));
                }
                else
                {
                    metadata.Add(name, header.ValueText);
                }
            }
            catch (Exception e) when (e is ArgumentException or FormatException)
            {
                // A name or value that gRPC does not allow says nothing to us.
                continue;
            }
        }

        return metadata;
    }

    private static void Begin(ArrayBufferWriter<byte> block, int http = 200)
    {
        HpackWriter.Status(block, http);
        HpackWriter.Write(block, "content-type", "application/grpc");
    }

    private static void End(ArrayBufferWriter<byte> block, Status status, Metadata? more)
    {
        HpackWriter.Write(block, "grpc-status", ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture));
        if (!string.IsNullOrEmpty(status.Detail))
        {
            HpackWriter.Write(block, "grpc-message", PercentEncode(status.Detail));
        }

        foreach (Metadata.Entry entry in more ?? [])
        {
            HpackWriter.Write(block, entry.Key, entry.IsBinary ? Convert.ToBase64String(entry.ValueBytes).TrimEnd('=') : entry.Value);
        }
    }

    private static string PercentEncode(string text)
    {
        StringBuilder encoded = new(text.Length);
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            if (b is >= 0x20 and <= 0x7e and not (byte)'%')
            {
                encoded.Append((char)b);
            }
            else
            {
                encoded.Append('%').Append(b.ToString("X2", CultureInfo.InvariantCulture));
            }
        }

        return encoded.ToString();
    }
}

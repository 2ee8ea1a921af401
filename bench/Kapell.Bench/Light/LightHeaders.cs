using System.Buffers;
using System.Globalization;
using System.Text;
using Grpc.Core;
using Kapell.Etcd.Server.Http2;

namespace Kapell.Bench.Light;

/// <summary>
/// The header blocks of requests, as gRPC's clients send them: what was said once is a number in the table of the connection afterwards
/// (RFC 7541).
/// </summary>
internal sealed class LightHeaders(string authority)
{
    private const int StaticFields = 61;
    private const byte MethodPost = 0x83;
    private const byte SchemeHttp = 0x86;
    private const byte Indexed = 0x80;
    private const byte LiteralIndexed = 0x40;
    private readonly Dictionary<(string Name, string Value), int> _places = []; // In the order in which they came into the table.
    private readonly ArrayBufferWriter<byte> _block = new(256);

    /// <summary>Valid until the next call; must be sent before what the next one gives.</summary>
    public ReadOnlySpan<byte> Encode(string path)
    {
        _block.ResetWrittenCount();
        Byte(MethodPost);
        Byte(SchemeHttp);
        Field(":path", path);
        Field(":authority", authority);
        Field("content-type", "application/grpc");
        Field("te", "trailers");
        return _block.WrittenSpan;
    }

    /// <summary>What the trailers of a call say; null when these are the headers before its answer.</summary>
    public static Status? StatusOf(List<HpackHeader> fields)
    {
        string? code = null;
        string message = "";
        foreach (HpackHeader field in fields)
        {
            if (field.Is("grpc-status"u8))
            {
                code = field.ValueText;
            }
            else if (field.Is("grpc-message"u8))
            {
                message = Uri.UnescapeDataString(field.ValueText);
            }
        }

        return code is null ? null
            : code == "0" ? Status.DefaultSuccess
            : new Status((StatusCode)int.Parse(code, CultureInfo.InvariantCulture), message);
    }

    // Fewer than 64 fields and 4096 bytes: nothing ever leaves the table, and an index is one byte.
    private void Field(string name, string value)
    {
        if (_places.TryGetValue((name, value), out int place))
        {
            Byte((byte)(Indexed | (StaticFields + _places.Count - place)));
            return;
        }

        _places[(name, value)] = _places.Count;
        Byte(LiteralIndexed);
        Text(name);
        Text(value);
    }

    private void Text(string text)
    {
        byte[] bytes = Encoding.ASCII.GetBytes(text);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes.Length, 126);
        Byte((byte)bytes.Length);
        _block.Write(bytes);
    }

    private void Byte(byte value)
    {
        _block.GetSpan(1)[0] = value;
        _block.Advance(1);
    }
}

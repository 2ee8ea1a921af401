using System.Text;

namespace Kapell.Machinery.Protobuf;

/// <summary>
/// How Kubernetes wraps a protobuf object: four magic bytes, then a message runtime.Unknown with apiVersion and kind (1: 1, 2), the
/// object's own bytes (2), contentEncoding (3) and contentType (4). Source: apimachinery, runtime/serializer/protobuf.
/// </summary>
public static class ProtobufEnvelope
{
    public const string MediaType = "application/vnd.kubernetes.protobuf";

    private const string Undecodable = "provided data does not appear to be a protobuf message";

    /// <summary><c>k8s\0</c>.</summary>
    public static ReadOnlySpan<byte> Magic => "k8s\0"u8;

    /// <exception cref="WireFormatException">Not such an envelope, or one whose content is encoded in a way we do not know.</exception>
    public static (string ApiVersion, string Kind, ReadOnlyMemory<byte> Object) Open(ReadOnlyMemory<byte> body)
    {
        if (body.Length == 0)
        {
            throw new WireFormatException("empty data");
        }

        if (!body.Span.StartsWith(Magic))
        {
            throw new WireFormatException($"{Undecodable}, expected prefix [107 56 115 0]");
        }

        string apiVersion = "";
        string kind = "";
        ReadOnlyMemory<byte> raw = default;
        ReadOnlyMemory<byte> message = body[Magic.Length..];
        WireReader reader = new(message.Span);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            if (type != WireType.Bytes || number > 4)
            {
                reader.Skip(type);
                continue;
            }

            (int start, int end) = reader.Bytes();
            switch (number)
            {
                case 1: (apiVersion, kind) = TypeMeta(message.Span[start..end]); break;
                case 2: raw = message[start..end]; break;
                case 3 when end > start: throw new WireFormatException($"unable to decode contentEncoding {Text(message.Span[start..end])}");
                case 4 when end > start && Text(message.Span[start..end]) != MediaType:
                    throw new WireFormatException($"unable to decode content type {Text(message.Span[start..end])} inside protobuf");
                default: break;
            }
        }

        return (apiVersion, kind, raw);
    }

    private static (string ApiVersion, string Kind) TypeMeta(ReadOnlySpan<byte> message)
    {
        string apiVersion = "";
        string kind = "";
        WireReader reader = new(message);
        while (!reader.IsAtEnd)
        {
            (int number, WireType type) = reader.Tag();
            if (type != WireType.Bytes || number > 2)
            {
                reader.Skip(type);
                continue;
            }

            (int start, int end) = reader.Bytes();
            (apiVersion, kind) = number == 1 ? (Text(message[start..end]), kind) : (apiVersion, Text(message[start..end]));
        }

        return (apiVersion, kind);
    }

    private static string Text(ReadOnlySpan<byte> utf8) => Encoding.UTF8.GetString(utf8[..Math.Min(utf8.Length, 512)]);
}

using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Kapell.Machinery.Decoding;
using Kapell.Machinery.Schemas;

namespace Kapell.Machinery.Protobuf;

/// <summary>
/// A protobuf object to its JSON form, by the schema: what Go would write as JSON after reading the message. Unknown numbers are skipped,
/// as protobuf wants; a field that comes again replaces a plain one and adds to a message, list or map.
/// </summary>
public static class ProtobufDecoder
{
    /// <summary>
    /// Decodes an enveloped object. The outcome is a JSON object with kind and apiVersion as the envelope names them.
    /// </summary>
    /// <param name="find">The schema of the kind that the envelope names; null refuses it.</param>
    /// <exception cref="WireFormatException">Malformed bytes, a kind without a schema, or nesting deeper than the JSON decoder allows.</exception>
    public static byte[] ToJson(ReadOnlyMemory<byte> body, Func<string, string, TypeSchema?> find)
    {
        (string apiVersion, string kind, ReadOnlyMemory<byte> raw) = ProtobufEnvelope.Open(body);
        TypeSchema schema = find(apiVersion, kind)
            ?? throw new WireFormatException($"no kind \"{kind}\" is registered for version \"{apiVersion}\"");
        if (schema.Wire.IsEmpty)
        {
            throw new WireFormatException($"{apiVersion}, Kind={kind} has no protobuf form");
        }

        ArrayBufferWriter<byte> buffer = new(body.Length * 2);
        using (Utf8JsonWriter json = new(buffer, new JsonWriterOptions { MaxDepth = ObjectDecoder.DepthMax + 8 }))
        {
            json.WriteStartObject();
            if (kind.Length > 0)
            {
                json.WriteString("kind"u8, kind);
            }

            if (apiVersion.Length > 0)
            {
                json.WriteString("apiVersion"u8, apiVersion);
            }

            MessageToJson run = new(json);
            run.Fields(raw, schema, depth: 1);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Go keeps any bytes in a string; JSON cannot, so what is no UTF-8 is refused.</summary>
    internal static ReadOnlySpan<byte> Utf8(ReadOnlySpan<byte> text) =>
        System.Text.Unicode.Utf8.IsValid(text) ? text : throw new WireFormatException("a string field contains invalid UTF-8");
}

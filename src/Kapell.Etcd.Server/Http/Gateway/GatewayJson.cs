using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>
/// Messages as JSON, the way upstream's gateway has them: names as in the protocol's files, bytes in base64, large numbers as strings,
/// nothing for defaults; unknown names are passed over.
/// </summary>
internal static class GatewayJson
{
    private const int SafeDigits = 15; // Of a whole number that a double holds.

    private static readonly JsonFormatter Formatter =
        new(JsonFormatter.Settings.Default.WithFormatDefaultValues(false).WithPreserveProtoFieldNames(true));

    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
    private static readonly JsonWriterOptions AsGoWrites = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <exception cref="RpcException">It is no such message.</exception>
    public static IMessage Read(string json, MessageDescriptor type)
    {
        try
        {
            return Parser.Parse(WithExactNumbers(json), type);
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException or InvalidOperationException or FormatException or OverflowException
            or JsonException)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, e.Message));
        }
    }

    /// <summary>
    /// The parser reads numbers as doubles, which do not hold all of 64 bits, and takes them from strings whole: whole numbers become
    /// strings.
    /// </summary>
    private static string WithExactNumbers(string json)
    {
        Utf8JsonReader reader = new(Encoding.UTF8.GetBytes(json));
        ArrayBufferWriter<byte> bytes = new(json.Length + 16);
        using Utf8JsonWriter writer = new(bytes, AsGoWrites);
        bool changed = false;
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject: writer.WriteStartObject(); break;
                case JsonTokenType.EndObject: writer.WriteEndObject(); break;
                case JsonTokenType.StartArray: writer.WriteStartArray(); break;
                case JsonTokenType.EndArray: writer.WriteEndArray(); break;
                case JsonTokenType.PropertyName: writer.WritePropertyName(reader.GetString()!); break;
                case JsonTokenType.Number when reader.ValueSpan.Length > SafeDigits && reader.ValueSpan.IndexOfAny(".eE"u8) < 0:
                    writer.WriteStringValue(reader.ValueSpan);
                    changed = true;
                    break;
                case JsonTokenType.Number: writer.WriteRawValue(reader.ValueSpan); break;
                case JsonTokenType.String: writer.WriteStringValue(reader.GetString()); break;
                case JsonTokenType.True or JsonTokenType.False: writer.WriteBooleanValue(reader.GetBoolean()); break;
                case JsonTokenType.Null: writer.WriteNullValue(); break;
            }
        }

        writer.Flush();
        return changed ? Encoding.UTF8.GetString(bytes.WrittenSpan) : json;
    }

    /// <param name="wrapped">One of a stream: stands under "result" and ends its line.</param>
    public static byte[] Write(IMessage message, bool wrapped)
    {
        using JsonDocument document = JsonDocument.Parse(Formatter.Format(message));
        return Write(json =>
        {
            if (!wrapped)
            {
                document.WriteTo(json);
                return;
            }

            json.WriteStartObject();
            json.WritePropertyName("result");
            document.WriteTo(json);
            json.WriteEndObject();
        }, line: wrapped);
    }

    /// <summary>With the names of both generations of the gateway.</summary>
    public static byte[] Refusal(Status status) => Write(json =>
    {
        json.WriteStartObject();
        json.WriteString("error", status.Detail);
        json.WriteNumber("code", (int)status.StatusCode);
        json.WriteString("message", status.Detail);
        json.WriteEndObject();
    }, line: false);

    /// <summary>After a stream has begun.</summary>
    public static byte[] StreamRefusal(Status status) => Write(json =>
    {
        json.WriteStartObject();
        json.WriteStartObject("error");
        json.WriteNumber("grpc_code", (int)status.StatusCode);
        json.WriteNumber("http_code", StatusOf(status.StatusCode));
        json.WriteNumber("code", (int)status.StatusCode);
        json.WriteString("message", status.Detail);
        json.WriteString("http_status", Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(StatusOf(status.StatusCode)));
        json.WriteEndObject();
        json.WriteEndObject();
    }, line: true);

    /// <summary>The status of HTTP for one of gRPC. Source: grpc-gateway runtime/errors.go</summary>
    public static int StatusOf(StatusCode code) => code switch
    {
        StatusCode.OK => 200,
        StatusCode.Cancelled => 499,
        StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange => 400,
        StatusCode.DeadlineExceeded => 504,
        StatusCode.NotFound => 404,
        StatusCode.AlreadyExists or StatusCode.Aborted => 409,
        StatusCode.PermissionDenied => 403,
        StatusCode.Unauthenticated => 401,
        StatusCode.ResourceExhausted => 429,
        StatusCode.Unimplemented => 501,
        StatusCode.Unavailable => 503,
        _ => 500,
    };

    private static byte[] Write(Action<Utf8JsonWriter> write, bool line)
    {
        ArrayBufferWriter<byte> bytes = new();
        using Utf8JsonWriter json = new(bytes, AsGoWrites);
        write(json);
        json.Flush();
        if (line)
        {
            bytes.Write("\n"u8);
        }

        return bytes.WrittenSpan.ToArray();
    }
}

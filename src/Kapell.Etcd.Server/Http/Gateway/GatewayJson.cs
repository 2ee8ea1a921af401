using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Kapell.Base;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>
/// Messages as JSON, the way upstream's gateway has them: names as in the protocol's files, bytes in base64, large numbers as strings,
/// nothing for defaults.
/// </summary>
internal static class GatewayJson
{
    /// <summary>Of brackets in one another. Source: encoding/json scanner.go</summary>
    public const int DepthMax = 10_000;

    private static readonly JsonFormatter Formatter =
        new(JsonFormatter.Settings.Default.WithFormatDefaultValues(false).WithPreserveProtoFieldNames(true));

    private static readonly JsonWriterOptions AsGoWrites = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <param name="json">One value, in UTF-8.</param>
    /// <exception cref="RpcException">It is no such message.</exception>
    public static IMessage Read(ReadOnlySpan<byte> json, MessageDescriptor type)
    {
        try
        {
            return MessageReader.Read(json, type);
        }
        catch (FormatException e)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, e.Message));
        }
        catch (JsonException e)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, WordsFor(json, e)));
        }
    }

    /// <summary>What upstream's reader says of a text whose first value is none.</summary>
    public static string WordsFor(ReadOnlySpan<byte> json, JsonException e) => GoJsonSyntax.FaultOfFirst(json) switch
    {
        GoJsonSyntax.EndOfInput => "unexpected EOF",
        { } fault => fault,
        null => e.Message,
    };

    /// <param name="wrapped">One of a stream: stands under "result" and ends its line.</param>
    public static byte[] Write(IMessage message, bool wrapped)
    {
        using JsonDocument document = JsonDocument.Parse(Formatter.Format(message), new JsonDocumentOptions { MaxDepth = DepthMax });
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

using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.ApiServer.OpenApi;
using Kapell.Machinery;
using Kapell.Machinery.Protobuf;
using Kapell.Machinery.Schemas;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>Reads request bodies within upstream's limit.</summary>
internal static class Bodies
{
    /// <summary>3 MiB (upstream: MaxRequestBodyBytes).</summary>
    public const int BytesMax = 3 * 1024 * 1024;

    /// <exception cref="StatusException">413 when there is more.</exception>
    public static async Task<byte[]> ReadAsync(HttpRequest request, CancellationToken cancel)
    {
        if (request.ContentLength > BytesMax)
        {
            throw TooLarge();
        }

        using MemoryStream all = new((int)(request.ContentLength ?? 4096));
        PipeReader reader = request.BodyReader;
        while (true)
        {
            ReadResult read = await reader.ReadAsync(cancel);
            foreach (ReadOnlyMemory<byte> segment in read.Buffer)
            {
                all.Write(segment.Span);
            }

            reader.AdvanceTo(read.Buffer.End);
            if (all.Length > BytesMax)
            {
                throw TooLarge();
            }

            if (read.IsCompleted)
            {
                return all.ToArray();
            }
        }
    }

    /// <summary>The media type without parameters; upstream takes an absent one for JSON.</summary>
    public static string MediaType(HttpRequest request)
    {
        string type = (request.ContentType ?? "").Split(';')[0].Trim().ToLowerInvariant();
        return type.Length == 0 ? "application/json" : type;
    }

    /// <summary>The body as JSON text, turned from YAML or protobuf when it says so.</summary>
    /// <exception cref="StatusException">415 for other media types, 400 for what is not of the type it claims.</exception>
    public static byte[] ToJson(byte[] body, string mediaType) => mediaType switch
    {
        "application/json" => body,
        "application/yaml" => YamlToJson(body),
        ProtobufEnvelope.MediaType => ProtobufToJson(body),
        _ => throw new StatusException(Status.UnsupportedMediaType(
            $"the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, {ProtobufEnvelope.MediaType}")),
    };

    /// <exception cref="StatusException">400 with upstream's shape.</exception>
    public static JsonObject ParseObject(byte[] json)
    {
        try
        {
            return JsonBytes.ParseObject(json);
        }
        catch (JsonException e)
        {
            throw new StatusException(Status.BadRequest($"the object provided is unrecognized (must be of type Status): couldn't get version/kind; json parse error: {e.Message}"));
        }
    }

    /// <summary>JSON that comes as YAML needs no conversion; a flow mapping that only begins like it does.</summary>
    public static byte[] YamlToJson(byte[] body)
    {
        int at = body.AsSpan().IndexOfAnyExcept(" \t\r\n"u8);
        if (at >= 0 && body[at] == (byte)'{' && IsJson(body))
        {
            return body;
        }

        return Kapell.Machinery.Yaml.YamlToJson.ToUtf8(body, out _);
    }

    private static bool IsJson(byte[] body)
    {
        try
        {
            Utf8JsonReader reader = new(body, new JsonReaderOptions { MaxDepth = Kapell.Machinery.Decoding.ObjectDecoder.DepthMax });
            while (reader.Read())
            {
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static byte[] ProtobufToJson(byte[] body)
    {
        try
        {
            return ProtobufDecoder.ToJson(body, SchemaOf);
        }
        catch (WireFormatException e)
        {
            throw new StatusException(Status.BadRequest("the object provided is unrecognized: " + e.Message));
        }
    }

    // DeleteOptions is one type that every group carries under its own version.
    private static TypeSchema? SchemaOf(string apiVersion, string kind) => kind == "DeleteOptions"
        ? BuiltinSchemas.Set.Find("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions")
        : BuiltinSchemas.Set.Find(GroupVersionKind.Of(apiVersion, kind));

    private static StatusException TooLarge() => new(Status.TooLarge($"Request entity too large: limit is {BytesMax}"));
}

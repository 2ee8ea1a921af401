using System.Buffers;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Http;

/// <summary>Puts documents on the wire.</summary>
internal static class Responses
{
    /// <summary>From this size on answers are compressed for those who can read it (upstream: 128 KiB).</summary>
    private const int GzipFrom = 128 * 1024;
    private static readonly JsonWriterOptions Indented = new()
    {
        Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping, MaxDepth = 256,
    };

    public static Task WriteAsync(HttpContext context, int code, ReadOnlyMemory<byte> json, OutputFormat format, CancellationToken cancel)
    {
        // JSON is YAML 1.2, so that a YAML answer needs no other text.
        bool indent = format.Pretty || format.Yaml;
        ReadOnlyMemory<byte> body = indent ? Pretty(json) : json;
        return WriteBytesAsync(context, code, format.ContentType, body, newline: true, cancel);
    }

    public static Task WriteAsync(HttpContext context, int code, JsonNode json, OutputFormat format, CancellationToken cancel) =>
        WriteAsync(context, code, JsonBytes.Of(json), format, cancel);

    public static Task WriteTextAsync(HttpContext context, int code, string text, CancellationToken cancel)
    {
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return WriteBytesAsync(context, code, "text/plain; charset=utf-8", Encoding.UTF8.GetBytes(text), newline: false, cancel);
    }

    /// <summary>A failure as a Status document. Does nothing when the answer has begun already.</summary>
    public static Task WriteStatusAsync(HttpContext context, Status status, CancellationToken cancel)
    {
        if (context.Response.HasStarted)
        {
            context.Abort();
            return Task.CompletedTask;
        }

        if (status.RetryAfterSeconds > 0)
        {
            context.Response.Headers.RetryAfter = status.RetryAfterSeconds.ToString();
        }

        return WriteAsync(context, status.Code, status.ToJson(), OutputFormat.ForErrors(context.Request), cancel);
    }

    /// <summary>Upstream's mux answers so for paths nobody serves.</summary>
    public static Task NotFoundPageAsync(HttpContext context, CancellationToken cancel) =>
        WriteTextAsync(context, 404, "404 page not found\n", cancel);

    public static async Task WriteBytesAsync(
        HttpContext context, int code, string contentType, ReadOnlyMemory<byte> body, bool newline, CancellationToken cancel)
    {
        HttpResponse response = context.Response;
        response.StatusCode = code;
        response.ContentType = contentType;
        bool zip = body.Length >= GzipFrom && context.Request.Headers.AcceptEncoding.ToString().Contains("gzip", StringComparison.OrdinalIgnoreCase);
        if (zip)
        {
            response.Headers.ContentEncoding = "gzip";
            response.Headers.Vary = "Accept-Encoding";
        }
        else
        {
            response.ContentLength = body.Length + (newline ? 1 : 0);
        }

        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        if (zip)
        {
            await using GZipStream gzip = new(response.Body, CompressionLevel.Fastest, leaveOpen: true);
            await gzip.WriteAsync(body, cancel);
            return;
        }

        response.BodyWriter.Write(body.Span);
        if (newline)
        {
            response.BodyWriter.Write("\n"u8);
        }

        await response.BodyWriter.FlushAsync(cancel);
    }

    private static byte[] Pretty(ReadOnlyMemory<byte> json)
    {
        using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 256 });
        ArrayBufferWriter<byte> buffer = new(json.Length * 2);
        using (Utf8JsonWriter writer = new(buffer, Indented))
        {
            document.RootElement.WriteTo(writer);
        }

        return buffer.WrittenSpan.ToArray();
    }
}

using System.Net;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kapell.Cli.Images;

/// <summary>
/// A read-only OCI registry on loopback (distribution-spec v1.0, pull only) over an <see cref="ImageStore"/>. containerd asks it
/// first, with the wanted registry in the query parameter <c>ns</c>.
/// </summary>
internal sealed class MirrorServer(ImageStore images, int port, ILoggerFactory logs) : IAsyncDisposable
{
    private readonly ILogger _log = logs.CreateLogger("mirror");
    private WebApplication? _app;

    public int Port { get; private set; } = port;

    public async Task StartAsync(CancellationToken stopping)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(o =>
        {
            o.AddServerHeader = false;
            o.Limits.MaxRequestBodySize = 0;
            o.Listen(IPAddress.Loopback, Port, l => l.Protocols = HttpProtocols.Http1);
        });
        _app = builder.Build();
        _app.Run(ServeAsync);
        await _app.StartAsync(stopping);
        Port = new Uri(_app.Urls.First()).Port;
    }

    public async ValueTask DisposeAsync()
    {
        if (_app is not null)
        {
            await _app.DisposeAsync();
        }
    }

    private async Task ServeAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        string path = request.Path.Value ?? "";
        context.Response.Headers["Docker-Distribution-Api-Version"] = "registry/2.0";
        if (!HttpMethods.IsGet(request.Method) && !HttpMethods.IsHead(request.Method))
        {
            await FailAsync(context, 405, "UNSUPPORTED", "this registry is read-only");
        }
        else if (path is "/v2" or "/v2/")
        {
            await context.Response.WriteAsync("{}");
        }
        else if (TrySplit(path, "/manifests/", out string repository, out string reference))
        {
            await ManifestAsync(context, repository, reference);
        }
        else if (TrySplit(path, "/blobs/", out repository, out reference))
        {
            await SendAsync(context, images.FindBlob(reference), reference, "BLOB_UNKNOWN", $"blob {reference} is in no archive of {images.Folder}");
        }
        else
        {
            await FailAsync(context, 404, "UNSUPPORTED", "only /v2/<name>/manifests/<reference> and /v2/<name>/blobs/<digest> are served");
        }
    }

    private async Task ManifestAsync(HttpContext context, string repository, string reference)
    {
        string host = context.Request.Query["ns"].ToString();
        BlobPlace? place = images.FindManifest(host, repository, reference, out string digest);
        Log.ManifestAsked(_log, host, repository, reference, place is null ? "absent" : digest);
        await SendAsync(context, place, digest, "MANIFEST_UNKNOWN",
            $"{repository}:{reference} is in no archive of {images.Folder}; put an OCI archive of it there");
    }

    private static async Task SendAsync(HttpContext context, BlobPlace? place, string digest, string code, string message)
    {
        if (place is null)
        {
            await FailAsync(context, 404, code, message);
            return;
        }

        context.Response.ContentType = place.MediaType;
        context.Response.ContentLength = place.Bytes;
        context.Response.Headers["Docker-Content-Digest"] = digest;
        if (HttpMethods.IsHead(context.Request.Method))
        {
            return;
        }

        await using Stream blob = ImageStore.Open(place);
        byte[] buffer = new byte[128 << 10];
        for (long left = place.Bytes; left > 0;)
        {
            int read = await blob.ReadAsync(buffer.AsMemory(0, (int)Math.Min(left, buffer.Length)), context.RequestAborted);
            if (read == 0)
            {
                context.Abort();
                return;
            }

            await context.Response.Body.WriteAsync(buffer.AsMemory(0, read), context.RequestAborted);
            left -= read;
        }
    }

    private static async Task FailAsync(HttpContext context, int status, string code, string message)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        if (!HttpMethods.IsHead(context.Request.Method))
        {
            await context.Response.WriteAsync(new JsonObject
            {
                ["errors"] = new JsonArray(new JsonObject { ["code"] = code, ["message"] = message }),
            }.ToJsonString());
        }
    }

    private static bool TrySplit(string path, string middle, out string repository, out string reference)
    {
        int at = path.LastIndexOf(middle, StringComparison.Ordinal);
        bool fits = path.StartsWith("/v2/", StringComparison.Ordinal) && at > 4;
        repository = fits ? path[4..at] : "";
        reference = fits ? path[(at + middle.Length)..] : "";
        return fits && reference.Length is > 0 and < 256;
    }
}

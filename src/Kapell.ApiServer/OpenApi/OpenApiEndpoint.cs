using Kapell.ApiServer.Http;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.OpenApi;

/// <summary>Serves <see cref="OpenApiDocuments"/> with ETags, and with hashes in the URLs of version 3 so that clients cache for good.</summary>
public sealed class OpenApiEndpoint : IPathEndpoint
{
    private readonly OpenApiDocuments _documents;
    private readonly TimeProvider _time;

    private OpenApiEndpoint(string path, OpenApiDocuments documents, TimeProvider time)
    {
        Path = path;
        _documents = documents;
        _time = time;
    }

    public string Path { get; }

    /// <summary>The endpoints of all documents, to be mounted together.</summary>
    public static IReadOnlyList<IPathEndpoint> All(OpenApiDocuments documents, TimeProvider time) =>
    [
        new OpenApiEndpoint("/openapi/v2", documents, time),
        new OpenApiEndpoint("/openapi/v3", documents, time),
        new OpenApiEndpoint("/openapi/v3/", documents, time),
    ];

    public async Task HandleAsync(HttpContext context, RequestInfo info, UserInfo user, CancellationToken cancel)
    {
        string path = context.Request.Path.Value ?? "";
        OpenApiDocument? document = path switch
        {
            "/openapi/v2" => WantsProtobuf(context.Request) ? _documents.V2Protobuf : _documents.V2Json,
            "/openapi/v3" or "/openapi/v3/" => _documents.V3Index,
            _ => path.StartsWith("/openapi/v3/", StringComparison.Ordinal) ? _documents.V3(path["/openapi/v3/".Length..]) : null,
        };
        HttpResponse response = context.Response;
        if (document is null)
        {
            response.StatusCode = StatusCodes.Status404NotFound;
            await response.WriteAsync("404 page not found\n", cancel);
            return;
        }

        response.Headers.Vary = "Accept-Encoding, Accept";
        response.Headers.ETag = document.ETag;
        string hash = context.Request.Query["hash"].ToString();
        if (hash.Length > 0 && hash != document.Hash)
        {
            response.Redirect($"{path}?hash={document.Hash}", permanent: true);
            return;
        }

        if (hash.Length > 0)
        {
            response.Headers.CacheControl = "public, immutable";
            response.Headers.Expires = _time.GetUtcNow().AddYears(1).ToString("R");
        }

        if (context.Request.Headers.IfNoneMatch.ToString().Contains(document.Hash, StringComparison.Ordinal))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return;
        }

        response.ContentType = document.ContentType;
        response.ContentLength = document.Body.Length;
        await response.Body.WriteAsync(document.Body, cancel);
    }

    // kubectl sends "...spec.v2@v1.0+protobuf"; older servers wrote the '@' as a dot.
    private static bool WantsProtobuf(HttpRequest request) =>
        request.Headers.Accept.ToString().Contains("proto-openapi.spec.v2", StringComparison.Ordinal);
}

using System.Text.Json.Nodes;
using Kapell.ApiServer.Http;
using Kapell.Machinery;
using Microsoft.AspNetCore.Http;

namespace Kapell.ApiServer.Subresources;

/// <summary>Reads and writes the JSON bodies of endpoints that are not stored objects.</summary>
internal static class EndpointJson
{
    /// <summary>The body as an object of the given kind; an absent kind is taken as meant.</summary>
    public static async Task<JsonObject> ReadAsync(HttpContext context, string apiVersion, string kind, CancellationToken cancel)
    {
        byte[] body = Bodies.ToJson(await Bodies.ReadAsync(context.Request, cancel), Bodies.MediaType(context.Request));
        JsonObject json = Bodies.ParseObject(body);
        string group = apiVersion.Contains('/', StringComparison.Ordinal) ? apiVersion.Split('/')[0] : "";
        string sentKind = json.Text("kind");
        string sentVersion = json.Text("apiVersion");
        string sentGroup = sentVersion.Contains('/', StringComparison.Ordinal) ? sentVersion.Split('/')[0] : "";
        if ((sentKind.Length > 0 && sentKind != kind) || (sentVersion.Length > 0 && sentGroup != group))
        {
            throw new StatusException(Status.BadRequest(
                $"the kind in the request body ({sentVersion}, Kind={sentKind}) does not match the expected kind ({apiVersion}, Kind={kind})"));
        }

        json["apiVersion"] = apiVersion;
        json["kind"] = kind;
        return json;
    }

    public static async Task WriteAsync(HttpContext context, int code, JsonNode json, CancellationToken cancel)
    {
        byte[] body = JsonBytes.Of(json);
        context.Response.StatusCode = code;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.Length;
        await context.Response.BodyWriter.WriteAsync(body, cancel);
    }

    public static Task WriteSuccessAsync(HttpContext context, CancellationToken cancel) => WriteAsync(
        context, 201,
        new JsonObject { ["kind"] = "Status", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["status"] = "Success", ["code"] = 201 },
        cancel);
}

using System.IO.Pipelines;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>Where the JSON of one exchange comes from, and where that of its answers goes. One send at a time.</summary>
internal interface IGatewayChannel : IAsyncDisposable
{
    /// <summary>JSON values, one behind the other.</summary>
    PipeReader Requests { get; }

    /// <summary>An answer has gone: what is refused now is refused in the midst of a stream.</summary>
    bool HasBegun { get; }

    /// <summary>The client is not there any more.</summary>
    CancellationToken Gone { get; }

    /// <summary>The token of a user, with or without "Bearer "; null: none was given.</summary>
    string? Authorization { get; }

    /// <summary>The one answer.</summary>
    Task AnswerAsync(byte[] json);

    /// <summary>One of many.</summary>
    /// <param name="line">Ends with a line feed.</param>
    /// <param name="cancellation">Of the exchange.</param>
    Task StreamAsync(byte[] line, CancellationToken cancellation);

    Task RefuseAsync(Status status);
}

/// <summary>A request of HTTP with its answer.</summary>
internal sealed class HttpChannel(HttpContext context) : IGatewayChannel
{
    private const string ContentTypeOfGrpc = "Grpc-Metadata-Content-Type"; // Of what the answer was before it became JSON.
    private bool _streams;

    public PipeReader Requests => context.Request.BodyReader;

    public bool HasBegun => context.Response.HasStarted || _streams;

    public CancellationToken Gone => context.RequestAborted;

    public string? Authorization => context.Request.Headers.Authorization.ToString() is { Length: > 0 } given ? given : null;

    public Task AnswerAsync(byte[] json)
    {
        context.Response.Headers[ContentTypeOfGrpc] = "application/grpc";
        return WriteWholeAsync(json);
    }

    public async Task StreamAsync(byte[] line, CancellationToken cancellation)
    {
        if (!_streams)
        {
            _streams = true;
            context.Response.Headers[ContentTypeOfGrpc] = "application/grpc";
            context.Response.ContentType = "application/json";
        }

        await context.Response.Body.WriteAsync(line, cancellation);
        await context.Response.Body.FlushAsync(cancellation);
    }

    public async Task RefuseAsync(Status status)
    {
        if (HasBegun)
        {
            await context.Response.Body.WriteAsync(GatewayJson.StreamRefusal(status), context.RequestAborted);
            return;
        }

        context.Response.StatusCode = GatewayJson.StatusOf(status.StatusCode);
        if (status.StatusCode == StatusCode.Unauthenticated)
        {
            context.Response.Headers.WWWAuthenticate = status.Detail;
        }

        await WriteWholeAsync(GatewayJson.Refusal(status));
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private Task WriteWholeAsync(byte[] json)
    {
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        return context.Response.Body.WriteAsync(json, context.RequestAborted).AsTask();
    }
}

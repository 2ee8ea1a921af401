using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Http.Gateway;

/// <summary>One request over HTTP: JSON values of the body are messages in, JSON values are messages out.</summary>
internal sealed class GatewayExchange(HttpContext context, MethodDescriptor method, int bodyBytesMax, CancellationToken ending)
{
    private const string ContentTypeOfGrpc = "Grpc-Metadata-Content-Type"; // Of what the answer was before it became JSON.

    private readonly PipeReader _body = context.Request.BodyReader;
    private bool _streams;

    public bool HasBegun => context.Response.HasStarted || _streams;

    public CancellationToken Ending => ending;

    /// <summary>The next message; null at the end of the body.</summary>
    /// <exception cref="RpcException">What comes is no message, or too long.</exception>
    public async Task<IMessage?> ReadAsync(CancellationToken cancellation)
    {
        while (true)
        {
            ReadResult read = await _body.ReadAsync(cancellation);
            bool found = false;
            byte[]? json = null;
            SequencePosition consumed = read.Buffer.End; // Of what cannot be read nothing is kept.
            try
            {
                found = TryTake(read, out json, out consumed);
            }
            finally
            {
                _body.AdvanceTo(consumed, found ? consumed : read.Buffer.End);
            }

            if (found)
            {
                return json is null ? null : GatewayJson.Read(json, method.InputType);
            }

            if (read.Buffer.Length > bodyBytesMax)
            {
                throw new RpcException(new Status(StatusCode.ResourceExhausted, "http: request body too large"));
            }
        }
    }

    /// <summary>The one answer.</summary>
    public async Task AnswerAsync(object response)
    {
        byte[] json = GatewayJson.Write(ToMessage(response), wrapped: false);
        context.Response.Headers[ContentTypeOfGrpc] = "application/grpc";
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    /// <summary>One of many.</summary>
    public async Task StreamAsync(object response, CancellationToken cancellation)
    {
        Begin();
        await context.Response.Body.WriteAsync(GatewayJson.Write(ToMessage(response), wrapped: true), cancellation);
        await context.Response.Body.FlushAsync(cancellation);
    }

    public async Task RefuseAsync(Status status)
    {
        if (HasBegun)
        {
            await context.Response.Body.WriteAsync(GatewayJson.StreamRefusal(status), context.RequestAborted);
            return;
        }

        await RefuseAsync(context, status);
    }

    public static async Task RefuseAsync(HttpContext context, Status status)
    {
        byte[] json = GatewayJson.Refusal(status);
        context.Response.StatusCode = GatewayJson.StatusOf(status.StatusCode);
        if (status.StatusCode == StatusCode.Unauthenticated)
        {
            context.Response.Headers.WWWAuthenticate = status.Detail;
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    private void Begin()
    {
        if (!_streams)
        {
            _streams = true;
            context.Response.Headers[ContentTypeOfGrpc] = "application/grpc";
            context.Response.ContentType = "application/json";
        }
    }

    private IMessage ToMessage(object response) =>
        response is Rpc.Reply reply ? method.OutputType.Parser.ParseFrom(reply.Take()) : (IMessage)response;

    /// <summary>A whole value, or the end of all (null); false when more must come first.</summary>
    private static bool TryTake(ReadResult read, out byte[]? json, out SequencePosition consumed)
    {
        json = null;
        consumed = read.Buffer.Start;
        try
        {
            Utf8JsonReader reader = new(read.Buffer, read.IsCompleted, new JsonReaderState(new JsonReaderOptions { AllowMultipleValues = true, MaxDepth = GatewayJson.DepthMax }));
            if (!reader.Read())
            {
                consumed = read.IsCompleted ? read.Buffer.End : consumed;
                return read.IsCompleted;
            }

            long start = reader.TokenStartIndex;
            if (!reader.TrySkip())
            {
                return false;
            }

            json = read.Buffer.Slice(start, reader.BytesConsumed - start).ToArray();
            consumed = reader.Position;
            return true;
        }
        catch (JsonException e)
        {
            consumed = read.Buffer.End;
            throw new RpcException(new Status(StatusCode.InvalidArgument, GatewayJson.WordsFor(read.Buffer.ToArray(), e)));
        }
    }
}

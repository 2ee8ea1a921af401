using System.Text.Json;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Microsoft.AspNetCore.Http;

namespace Kapell.Etcd.Server.Comparison;

/// <summary>What the peer port answers about this member's content.</summary>
internal static class ComparisonEndpoints
{
    private const int BodyBytesMax = 2 << 20; // A request has two keys in it, and a key may be as long as a request.

    public static async Task CompareAsync(HttpContext context, ReplicaHost host)
    {
        CompareRequest request;
        try
        {
            request = CompareRequest.Parser.ParseFrom(await BodyAsync(context));
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or InvalidDataException)
        {
            await WriteTextAsync(context, StatusCodes.Status400BadRequest, e.Message);
            return;
        }

        CompareAnswer answer = host.Reading(() => StoreAnswers.Answer(host.Store, request));
        context.Response.ContentType = "application/protobuf";
        await context.Response.Body.WriteAsync(answer.ToByteArray(), context.RequestAborted);
    }

    /// <summary>The hash at a revision as JSON. etcd: corrupt.go hashKVHandler</summary>
    public static async Task HashAsync(HttpContext context, ReplicaHost host)
    {
        if (!HttpMethods.IsGet(context.Request.Method))
        {
            context.Response.Headers.Allow = "GET";
            await WriteTextAsync(context, StatusCodes.Status405MethodNotAllowed, "Method Not Allowed\n");
            return;
        }

        string cluster = PeerProtocol.Hex(host.Header.ClusterId);
        string asked = context.Request.Headers[PeerProtocol.ClusterHeader].ToString();
        if (asked.Length > 0 && asked != cluster)
        {
            await WriteTextAsync(context, StatusCodes.Status412PreconditionFailed, "cluster ID mismatch\n");
            return;
        }

        if (await RevisionAsync(context) is not { } revision)
        {
            await WriteTextAsync(context, StatusCodes.Status400BadRequest, "error unmarshalling request\n");
            return;
        }

        HashedStore taken;
        try
        {
            taken = await host.Hashes.TakeAsync(revision, host.Times.RevisionHashes, context.RequestAborted);
        }
        catch (RpcException e)
        {
            await WriteTextAsync(context, StatusCodes.Status400BadRequest, e.Status.Detail["etcdserver: ".Length..] + "\n");
            return;
        }

        context.Response.Headers[PeerProtocol.ClusterHeader] = cluster;
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(
            $"{{\"header\":{{\"revision\":{taken.StoreRevision}}},\"hash\":{taken.Hash},\"compact_revision\":{taken.CompactRevision},\"hash_revision\":{taken.Revision}}}", context.RequestAborted);
    }

    private static async Task<long?> RevisionAsync(HttpContext context)
    {
        try
        {
            using JsonDocument request = JsonDocument.Parse(await BodyAsync(context));
            return request.RootElement.ValueKind != JsonValueKind.Object ? null
                : request.RootElement.TryGetProperty("revision", out JsonElement revision) ? revision.GetInt64() : 0;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException or InvalidDataException)
        {
            return null;
        }
    }

    private static async Task<byte[]> BodyAsync(HttpContext context)
    {
        using MemoryStream body = new();
        byte[] piece = new byte[16 * 1024];
        while (await context.Request.Body.ReadAsync(piece, context.RequestAborted) is var read and > 0)
        {
            body.Write(piece, 0, read);
            if (body.Length > BodyBytesMax)
            {
                throw new InvalidDataException("the request is too large");
            }
        }

        return body.ToArray();
    }

    private static Task WriteTextAsync(HttpContext context, int code, string text)
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = "text/plain; charset=utf-8";
        return context.Response.WriteAsync(text, context.RequestAborted);
    }
}

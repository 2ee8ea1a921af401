using System.Text;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>A connection that keeps what a call answers, for tests of calls without one.</summary>
internal sealed class Responder : IHttp2Responder
{
    public TimeProvider Time => TimeProvider.System;

    public ConnectionContext Connection { get; } = new DefaultConnectionContext();

    public TaskCompletionSource<Http2ErrorCode> WasReset { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public int Answers { get; private set; }

    /// <summary>Of the last answer.</summary>
    public string? Trailers { get; private set; }

    public static Http2Stream Stream(params (string Name, string Value)[] headers) =>
        new(1, 65535, [.. headers.Select(static h => new HpackHeader(h.Name, h.Value))]);

    public bool Respond(Http2Stream stream, ReadOnlySpan<byte> headers, ReadOnlyMemory<byte> data, ReadOnlyMemory<byte> trailers, Lent owner, bool ends = false)
    {
        Answers++;
        Trailers = Encoding.Latin1.GetString(trailers.Span);
        return true;
    }

    public Task RoomAsync(Http2Stream stream) => Task.CompletedTask;

    public void Reset(Http2Stream stream, Http2ErrorCode code) => WasReset.TrySetResult(code);

    public void SetDeadline(Http2Stream stream, TimeSpan timeout)
    {
        // No call here has one.
    }
}

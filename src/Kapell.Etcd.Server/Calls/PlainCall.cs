using System.Buffers;
using System.Globalization;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Kapell.Etcd.Server.Calls;

/// <summary>A request that is no gRPC (health, metrics, the gateway) on an HTTP/2 connection: runs the port's ordinary application.</summary>
internal sealed class PlainCall(RequestDelegate application, IServiceProvider services, IHttp2Responder responder, Http2Stream stream) : IHttp2Request
{
    private const int BodyBytesMax = 8 << 20;
    private readonly ArrayBufferWriter<byte> _body = new();

    public bool Data(ReadOnlySequence<byte> piece)
    {
        if (_body.WrittenCount + piece.Length > BodyBytesMax)
        {
            responder.Reset(stream, Http2ErrorCode.EnhanceYourCalm);
            return false;
        }

        foreach (ReadOnlyMemory<byte> segment in piece)
        {
            _body.Write(segment.Span);
        }

        return true;
    }

    public void End() => _ = Task.Run(RunAsync);

    public void Abort()
    {
    }

    public void ServerStops()
    {
    }

    private async Task RunAsync()
    {
        // Whatever goes wrong, the client hears of it.
        try
        {
            DefaultHttpContext context = new() { RequestServices = services, RequestAborted = stream.Ending };
            Describe(context.Request);
            context.Features.Set(responder.Connection.Features.Get<ITlsConnectionFeature>());
            context.Features.Set(responder.Connection.Features.Get<Http.PortGuard>());
            await using Body body = new(context, responder, stream);
            context.Response.Body = body;
            await application(context);

            // What was written to the pipe before the body and not flushed.
            await context.Response.CompleteAsync();
            body.Finish();
        }
        catch (Exception)
        {
            responder.Reset(stream, Http2ErrorCode.InternalError);
        }
    }

    /// <exception cref="ArgumentException">The path is none.</exception>
    private void Describe(HttpRequest request)
    {
        string target = "/";
        foreach (HpackHeader header in stream.Headers)
        {
            switch (header.NameText)
            {
                case ":method": request.Method = header.ValueText; break;
                case ":scheme": request.Scheme = header.ValueText; break;
                case ":authority": request.Headers.Host = header.ValueText; break;
                case ":path": target = header.ValueText; break;
                default: request.Headers.Append(header.NameText, header.ValueText); break;
            }
        }

        int question = target.IndexOf('?', StringComparison.Ordinal);
        request.Path = PathString.FromUriComponent(question < 0 ? target : target[..question]);
        request.QueryString = new QueryString(question < 0 ? "" : target[question..]);
        request.Protocol = "HTTP/2";
        request.Body = new MemoryStream(_body.WrittenMemory.ToArray(), writable: false);
    }

    /// <summary>The response's body: its first write sends the headers.</summary>
    private sealed class Body(HttpContext context, IHttp2Responder responder, Http2Stream stream) : Stream
    {
        private bool _headersSent;
        private bool _finished;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public void Finish()
        {
            if (_finished)
            {
                return;
            }

            _finished = true;
            ArrayBufferWriter<byte> headers = new();
            if (!_headersSent)
            {
                WriteHeaders(headers);
                _headersSent = true;
            }

            responder.Respond(stream, headers.WrittenSpan, default, default, default, ends: true);
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ArrayBufferWriter<byte> headers = new();
            if (!_headersSent)
            {
                _headersSent = true;
                WriteHeaders(headers);
            }

            if (!responder.Respond(stream, headers.WrittenSpan, buffer.ToArray(), default, default))
            {
                await responder.RoomAsync(stream).WaitAsync(cancellationToken);
            }
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Write(byte[] buffer, int offset, int count) => WriteAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

        public override void Flush()
        {
        }

        public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        private void WriteHeaders(ArrayBufferWriter<byte> block)
        {
            HpackWriter.Status(block, context.Response.StatusCode);
            foreach ((string name, Microsoft.Extensions.Primitives.StringValues values) in context.Response.Headers)
            {
                foreach (string? value in values)
                {
                    HpackWriter.Write(block, name.ToLower(CultureInfo.InvariantCulture), value ?? "");
                }
            }
        }
    }
}

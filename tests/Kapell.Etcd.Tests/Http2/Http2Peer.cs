using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Text;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Xunit;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>The client's side of a connection in memory. The server answers each request with the bytes, or never, or when it is told to.</summary>
internal sealed class Http2Peer
{
    private readonly IDuplexPipe _ours;

    public Http2Peer(byte[]? answer, Task? when = null, bool endless = false, TimeProvider? time = null, KeepAlivePolicy? keepAlive = null, HeldPongs? pongs = null,
        CancellationToken stopping = default)
    {
        Pipe toServer = new(new PipeOptions(pauseWriterThreshold: 0));
        Pipe toClient = new(new PipeOptions(pauseWriterThreshold: 0));
        DefaultConnectionContext context = new("test", new Duplex(toServer.Reader, toClient.Writer), new Duplex(toClient.Reader, toServer.Writer));
        _ours = context.Application!;
        Http2Options options = new()
        {
            Begin = (responder, stream) => new Request(responder, stream, answer, when ?? Task.CompletedTask, endless),
            KeepAlive = keepAlive,
            Pongs = pongs,
            Stopping = stopping,
        };
        Running = Task.Run(async () =>
        {
            await new Http2Connection(context, options, time ?? TimeProvider.System).RunAsync();
            await toClient.Writer.CompleteAsync();
        }, CancellationToken.None);
    }

    public static byte[] Preface { get; } = Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    /// <summary>GET http /</summary>
    public static byte[] Get { get; } = Convert.FromHexString("828684");

    public Task Running { get; }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public static byte[] Frame(byte type, byte flags, int stream, ReadOnlySpan<byte> payload = default)
    {
        byte[] frame = new byte[FrameHead.Bytes + payload.Length];
        new FrameHead(payload.Length, (FrameType)type, flags, stream).Write(frame);
        payload.CopyTo(frame.AsSpan(FrameHead.Bytes));
        return frame;
    }

    public static byte[] Number(int value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }

    public async Task SendAsync(byte[] bytes) => await _ours.Output.WriteAsync(bytes);

    public async Task EndAsync() => await _ours.Output.CompleteAsync();

    /// <summary>All frames up to the wanted one, or up to so many bytes of payload of the wanted ones.</summary>
    public async Task<List<(FrameHead Head, byte[] Payload)>> UntilAsync(Func<(FrameHead Head, byte[] Payload), bool> wanted, long total = 0)
    {
        List<(FrameHead, byte[])> frames = [];
        while (true)
        {
            ReadResult read = await _ours.Input.ReadAsync(Cancellation);
            ReadOnlySequence<byte> buffer = read.Buffer;
            while (buffer.Length >= FrameHead.Bytes)
            {
                FrameHead head = FrameHead.Read(buffer.Slice(0, FrameHead.Bytes).ToArray());
                if (buffer.Length < FrameHead.Bytes + head.Length)
                {
                    break;
                }

                (FrameHead, byte[]) frame = (head, buffer.Slice(FrameHead.Bytes, head.Length).ToArray());
                buffer = buffer.Slice(FrameHead.Bytes + head.Length);
                frames.Add(frame);
                if (wanted(frame) && (total -= head.Length) <= 0)
                {
                    _ours.Input.AdvanceTo(buffer.Start);
                    return frames;
                }
            }

            _ours.Input.AdvanceTo(buffer.Start, buffer.End);
            Assert.False(read.IsCompleted, "the connection ended: " + string.Join(' ', frames.Select(static f => f.Item1)));
        }
    }

    internal sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class Request(IHttp2Responder responder, Http2Stream stream, byte[]? answer, Task when, bool endless) : IHttp2Request
    {
        public bool Data(ReadOnlySequence<byte> piece) => true;

        public void End()
        {
            if (answer is not null)
            {
                when.ContinueWith(
                    _ => responder.Respond(stream, [0x88], answer, default, default, ends: true),
                    CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
            }
        }

        public void Abort()
        {
        }

        public void ServerStops()
        {
            if (endless)
            {
                responder.Respond(stream, [0x88], new byte[] { 9 }, default, default, ends: true);
            }
        }
    }
}

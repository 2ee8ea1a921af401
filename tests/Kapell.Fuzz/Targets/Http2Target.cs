using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Calls;
using Kapell.Etcd.Server.Http2;
using Kapell.Fuzz.Inputs;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kapell.Fuzz.Targets;

/// <summary>
/// What a client sends on the client port after the preface: frames, header blocks in them, gRPC messages in those. Services answer at
/// once with what they were sent. The connection must end when the client does, and every request of a whole connection be answered.
/// </summary>
internal sealed class Http2Target : FuzzTarget
{
    private static readonly byte[] Preface = Encoding.ASCII.GetBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private readonly GrpcServer _server;

    public Http2Target() : base("http2")
    {
        GrpcBinder binder = new(new CallCounter());
        KV.BindService(binder, new EchoKv());
        Watch.BindService(binder, new EchoWatch());
        _server = new GrpcServer(binder, 1 << 20, static async context =>
        {
            context.Response.ContentType = "text/plain";
            await context.Response.Body.WriteAsync("ok"u8.ToArray());
        }, new ServiceCollection().BuildServiceProvider(), NullLogger.Instance);
        Corpus = [.. Enumerable.Range(0, 12).Select(static i => Connection(new Prng((ulong)i)))];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    // Work is done on other threads too: the process as a whole is looked at by the runner.
    public override bool Run(byte[] input)
    {
        Pipe toServer = new(new PipeOptions(pauseWriterThreshold: 0, useSynchronizationContext: false));
        Pipe toClient = new(new PipeOptions(pauseWriterThreshold: 0, useSynchronizationContext: false));
        DefaultConnectionContext context = new("fuzz", new Duplex(toServer.Reader, toClient.Writer), new Duplex(toClient.Reader, toServer.Writer));
        Http2Connection connection = new(context, new Http2Options { Begin = _server.Begin, StreamsMax = 1000 }, Hasty.Instance);
        Task running = Task.Run(connection.RunAsync);
        toServer.Writer.WriteAsync((byte[])[.. Preface, .. input]).AsTask().GetAwaiter().GetResult();
        toServer.Writer.Complete();
        if (!running.Wait(Patience))
        {
            throw new TimeoutException("the connection did not end with its client");
        }

        toClient.Writer.Complete();
        toClient.Reader.TryRead(out ReadResult said);
        return !EndsBadly(said.Buffer);
    }

    /// <summary>In four of five inputs a payload is changed, and its frame with it; otherwise any bytes.</summary>
    public override byte[] Mutate(Mutator mutator, byte[] input)
    {
        if (mutator.Prng.Chance(0.2))
        {
            return mutator.Mutate(input, Corpus);
        }

        List<(byte Type, byte Flags, int Stream, byte[] Payload)> frames = Split(input);
        for (int i = mutator.Prng.NextInt(1, 4); i > 0; i--)
        {
            int at = mutator.Prng.NextInt(0, frames.Count);
            (byte type, byte flags, int stream, byte[] payload) = frames[at];
            switch (mutator.Prng.NextInt(0, 6))
            {
                case 0:
                    frames.Insert(mutator.Prng.NextInt(0, frames.Count), frames[at]);
                    break;
                case 1:
                    frames[at] = (type, (byte)(flags ^ (1 << mutator.Prng.NextInt(0, 6))), stream, payload);
                    break;
                case 2:
                    frames[at] = ((byte)mutator.Prng.NextInt(0, 11), flags, mutator.Prng.NextInt(0, 16), payload);
                    break;
                case 3 when type == 0 && payload.Length > 5:
                    byte[] message = mutator.Mutate(payload[5..], Corpus);
                    message = message.Length > 16000 ? message[..16000] : message;
                    frames[at] = (type, flags, stream, [.. payload[..1], .. Number(message.Length), .. message]);
                    break;
                default:
                    byte[] changed = mutator.Mutate(payload, Corpus);
                    frames[at] = (type, flags, stream, changed.Length > 16384 ? changed[..16384] : changed);
                    break;
            }
        }

        return [.. frames.SelectMany(static f => Frame(f.Type, f.Flags, f.Stream, f.Payload))];
    }

    private static bool EndsBadly(ReadOnlySequence<byte> said)
    {
        byte[] bytes = said.ToArray();
        return Split(bytes).Any(static f => f.Type == 7 && f.Payload.Length >= 8 && BinaryPrimitives.ReadUInt32BigEndian(f.Payload.AsSpan(4)) != 0);
    }

    private static List<(byte Type, byte Flags, int Stream, byte[] Payload)> Split(byte[] bytes)
    {
        List<(byte, byte, int, byte[])> frames = [];
        for (int at = 0; at + FrameHead.Bytes <= bytes.Length;)
        {
            FrameHead head = FrameHead.Read(bytes.AsSpan(at));
            int end = Math.Min(bytes.Length, at + FrameHead.Bytes + head.Length);
            frames.Add(((byte)head.Type, head.Flags, head.Stream, bytes[(at + FrameHead.Bytes)..end]));
            at = end;
        }

        return frames;
    }

    private static byte[] Connection(Prng prng)
    {
        List<byte> all = [.. Frame(4, 0, 0, []), .. Frame(4, 0, 0, [0, 4, 0, 0, 255, 255]), .. Frame(8, 0, 0, [0, 1, 0, 0]), .. Frame(6, 0, 0, new byte[8])];
        for (int i = 0; i < 5; i++)
        {
            int stream = (i * 2) + 1;
            string path = prng.NextInt(0, 6) switch
            {
                0 => "/health",
                1 => "/etcdserverpb.Watch/Watch",
                2 => "/etcdserverpb.KV/Txn",
                3 => "/etcdserverpb.KV/Nothing",
                _ => "/etcdserverpb.KV/Put",
            };
            bool grpc = path != "/health";
            all.AddRange(Frame(1, (byte)(grpc ? 4 : 5), stream, Headers(path, grpc)));
            if (grpc)
            {
                IMessage request = Samples.Fill(path.EndsWith("Watch", StringComparison.Ordinal) ? WatchRequest.Descriptor : path.EndsWith("Txn", StringComparison.Ordinal) ? TxnRequest.Descriptor : PutRequest.Descriptor, prng);
                byte[] body = request.ToByteArray();
                all.AddRange(Frame(0, 1, stream, [0, .. Number(body.Length), .. body]));
            }
        }

        return [.. all];
    }

    private static byte[] Headers(string path, bool grpc)
    {
        ArrayBufferWriter<byte> block = new();
        block.Write((byte[])[0x83, 0x86]);
        Literal(block, ":path", path);
        Literal(block, ":authority", "here:1");
        if (grpc)
        {
            Literal(block, "content-type", "application/grpc");
            Literal(block, "te", "trailers");
            Literal(block, "grpc-timeout", "9S");
            Literal(block, "grpc-encoding", "gzip");
        }

        return block.WrittenSpan.ToArray();
    }

    private static void Literal(ArrayBufferWriter<byte> block, string name, string value) =>
        block.Write((byte[])[0x40, (byte)name.Length, .. Encoding.ASCII.GetBytes(name), (byte)value.Length, .. Encoding.ASCII.GetBytes(value)]);

    private static byte[] Frame(byte type, byte flags, int stream, byte[] payload)
    {
        byte[] frame = new byte[FrameHead.Bytes + payload.Length];
        new FrameHead(payload.Length, (FrameType)type, flags, stream).Write(frame);
        payload.CopyTo(frame.AsSpan(FrameHead.Bytes));
        return frame;
    }

    private static byte[] Number(int value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }

    /// <summary>A clock whose waits are a twentieth as long.</summary>
    private sealed class Hasty : TimeProvider
    {
        public static readonly Hasty Instance = new();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, Shorter(dueTime), Shorter(period));

        private static TimeSpan Shorter(TimeSpan time) => time > TimeSpan.Zero ? time / 20 : time;
    }

    private sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;

    private sealed class EchoKv : KV.KVBase
    {
        public override Task<PutResponse> Put(PutRequest request, ServerCallContext context) => Task.FromResult(new PutResponse { PrevKv = new KeyValue { Key = request.Key } });

        public override Task<TxnResponse> Txn(TxnRequest request, ServerCallContext context) => Task.FromResult(new TxnResponse { Succeeded = request.Compare.Count > 0 });
    }

    private sealed class EchoWatch : Watch.WatchBase
    {
        public override async Task Watch(IAsyncStreamReader<WatchRequest> requestStream, IServerStreamWriter<WatchResponse> responseStream, ServerCallContext context)
        {
            while (await requestStream.MoveNext(context.CancellationToken))
            {
                await responseStream.WriteAsync(new WatchResponse { Created = requestStream.Current.CreateRequest is not null });
            }
        }
    }
}

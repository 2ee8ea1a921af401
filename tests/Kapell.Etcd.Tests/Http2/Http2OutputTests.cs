using System.Buffers;
using System.IO.Pipelines;
using Kapell.Etcd.Server.Http2;
using Microsoft.AspNetCore.Connections;
using Xunit;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>How the streams of one connection share it. What is sent goes into a pipe, which the test reads when it likes.</summary>
public sealed class Http2OutputTests
{
    private const int Large = 5 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Pipe _wire = new(new PipeOptions(pauseWriterThreshold: 1, resumeWriterThreshold: 1));
    private readonly Http2Output _output;

    public Http2OutputTests()
    {
        _output = new Http2Output(new PipeTransport(new DefaultConnectionContext("test") { Transport = new Http2Peer.Duplex(_wire.Reader, _wire.Writer) }), static _ => { }, static _ => { });
        _output.Allow(null, 1 << 30);
    }

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_small_message_does_not_wait_for_the_large_ones_before_it()
    {
        for (int id = 1; id < 20; id += 2)
        {
            Send(Stream(id), Large);
        }

        Send(Stream(21), 100);
        long before = await ReadAsync(static head => head.Stream == 21);
        Assert.InRange(before, 0, 4 << 20);
    }

    [Fact]
    public async Task Large_ones_take_turns()
    {
        Send(Stream(1), Large);
        Send(Stream(3), Large);
        Dictionary<int, int> sent = new() { [1] = 0, [3] = 0 };
        int apart = 0;
        await ReadAsync(head =>
        {
            sent[head.Stream] += head.Length;
            apart = Math.Max(apart, Math.Abs(sent[1] - sent[3]));
            return sent[1] == Large || sent[3] == Large;
        });

        // The first may have filled both buffers before the second came.
        Assert.InRange(apart, 1, 3 << 20);
    }

    [Fact]
    public async Task A_stream_has_room_again_while_another_is_not_read()
    {
        Send(Stream(1, window: 100), Large);
        Http2Stream second = Stream(3);
        Assert.False(Send(second, Large, ends: false));
        Task room = _output.RoomAsync(second);
        Assert.False(room.IsCompleted);
        await Task.WhenAny(room, ReadAsync(static _ => false));
        await room.WaitAsync(Patience, Cancellation);
    }

    [Fact]
    public async Task A_long_stream_has_room_while_others_never_rest()
    {
        Http2Stream[] busy = [.. Enumerable.Range(0, 4).Select(static i => Stream((2 * i) + 1))];
        Http2Stream watch = Stream(9);
        foreach (Http2Stream stream in busy)
        {
            Send(stream, Large, ends: false);
        }

        Assert.False(Send(watch, 100, ends: false));
        Task room = _output.RoomAsync(watch);
        await ReadAsync(head =>
        {
            Http2Stream? next = Array.Find(busy, b => b.Id == head.Stream);
            if (next is { OutgoingBytes: < 1 << 20 })
            {
                Send(next, Large, ends: false);
            }

            return room.IsCompleted;
        });
    }

    [Fact]
    public async Task Whose_stream_is_over_waits_no_longer()
    {
        Http2Stream stream = Stream(1, window: 100);
        Assert.False(Send(stream, Large, ends: false));
        Task room = _output.RoomAsync(stream);
        Assert.False(room.IsCompleted);
        _output.Close(stream);
        await Task.WhenAny(room, ReadAsync(static _ => false));
        await room.WaitAsync(Patience, Cancellation);
    }

    [Fact]
    public async Task A_stream_whose_window_opens_again_goes_on()
    {
        Http2Stream stream = Stream(1, window: 100);
        Send(stream, 1000);
        await ReadAsync(static head => head.Length == 100);
        _output.Allow(stream, 400);
        await ReadAsync(static head => head.Length == 400);
        _output.Configure(streamWindow: Http2Output.WindowDefault + 500, frameBytes: null, [stream]);
        await ReadAsync(static head => head.Length == 500 && head.Has(FrameHead.EndStream));
    }

    private static Http2Stream Stream(int id, int window = 1 << 30) => new(id, window, []);

    private bool Send(Http2Stream stream, int bytes, bool ends = true) => _output.Send(stream, default, new byte[bytes], default, default, ends);

    // Reads frames until the wanted one; the bytes of data before it.
    private async Task<long> ReadAsync(Func<FrameHead, bool> wanted)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        patience.CancelAfter(Patience);
        long before = 0;
        while (true)
        {
            ReadResult read = await _wire.Reader.ReadAsync(patience.Token);
            ReadOnlySequence<byte> buffer = read.Buffer;
            while (buffer.Length >= FrameHead.Bytes)
            {
                FrameHead head = FrameHead.Read(buffer.Slice(0, FrameHead.Bytes).ToArray());
                if (buffer.Length < FrameHead.Bytes + head.Length)
                {
                    break;
                }

                buffer = buffer.Slice(FrameHead.Bytes + head.Length);
                if (wanted(head))
                {
                    _wire.Reader.AdvanceTo(buffer.Start);
                    return before;
                }

                before += head.Length;
            }

            _wire.Reader.AdvanceTo(buffer.Start, buffer.End);
        }
    }
}

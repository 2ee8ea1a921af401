using System.Buffers;
using System.Buffers.Binary;
using CsCheck;
using Kapell.Etcd.Server.Http2;
using Xunit;
using static Kapell.Etcd.Tests.Http2.Http2Peer;

namespace Kapell.Etcd.Tests.Http2;

public sealed class Http2ConnectionTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_request_gets_its_response_and_the_stream_ends()
    {
        Http2Peer peer = new(answer: [1, 2, 3]);
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)]);
        List<(FrameHead Head, byte[] Payload)> frames = await peer.UntilAsync(f => f.Head.Stream == 1 && f.Head.Has(FrameHead.EndStream));
        Assert.Contains(frames, f => f.Head is { Type: FrameType.Settings } && f.Head.Has(FrameHead.Ack));
        Assert.Equal([1, 2, 3], frames.Single(f => f.Head.Type == FrameType.Data).Payload);
    }

    [Fact]
    public async Task Windows_hold_the_data_back_until_they_open()
    {
        Http2Peer peer = new(answer: new byte[200_000]);
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)]);
        List<(FrameHead Head, byte[] Payload)> first = await peer.UntilAsync(
            f => f.Head.Type == FrameType.Data, total: 65_535);
        Assert.Equal(65_535, first.Where(f => f.Head.Type == FrameType.Data).Sum(f => f.Payload.Length));
        await peer.SendAsync([.. Frame(8, 0, 0, Number(1_000_000)), .. Frame(8, 0, 1, Number(50_000))]);
        await peer.UntilAsync(f => f.Head.Type == FrameType.Data, total: 50_000);
        await peer.SendAsync(Frame(8, 0, 1, Number(1_000_000)));
        await peer.UntilAsync(f => f.Head.Stream == 1 && f.Head.Has(FrameHead.EndStream));
    }

    [Theory]
    [InlineData("settings-missing", 1)]
    [InlineData("data-on-nothing", 1)]
    [InlineData("even-stream", 1)]
    [InlineData("continuation-of-nothing", 1)]
    [InlineData("window-of-nothing", 1)]
    [InlineData("ping-of-seven", 6)]
    [InlineData("frame-too-large", 6)]
    [InlineData("bad-headers", 9)]
    [InlineData("window-too-large", 3)]
    public async Task What_breaks_the_protocol_ends_the_connection_with_its_code(string what, int code)
    {
        Http2Peer peer = new(answer: []);
        byte[] settings = Frame(4, 0, 0);
        byte[] wrong = what switch
        {
            "data-on-nothing" => [.. settings, .. Frame(0, 0, 1, [1])],
            "even-stream" => [.. settings, .. Frame(1, 5, 2, Get)],
            "continuation-of-nothing" => [.. settings, .. Frame(9, 4, 1, Get)],
            "window-of-nothing" => [.. settings, .. Frame(8, 0, 0, Number(0))],
            "ping-of-seven" => [.. settings, .. Frame(6, 0, 0, new byte[7])],
            "frame-too-large" => [.. settings, 0x01, 0, 0, 0, 0, 0, 0, 0, 1],
            "bad-headers" => [.. settings, .. Frame(1, 5, 1, [0x80])],
            "window-too-large" => [.. settings, .. Frame(8, 0, 0, Number(int.MaxValue))],
            _ => Frame(1, 5, 1, Get),
        };
        await peer.SendAsync([.. Preface, .. wrong]);
        List<(FrameHead Head, byte[] Payload)> frames = await peer.UntilAsync(f => f.Head.Type == FrameType.GoAway);
        Assert.Equal((uint)code, BinaryPrimitives.ReadUInt32BigEndian(frames[^1].Payload.AsSpan(4)));
        await peer.Running.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);
    }

    /// <summary>Fields after GET http /, written without a table: name and value.</summary>
    [Theory]
    [InlineData("connection", "keep-alive")]
    [InlineData("transfer-encoding", "chunked")]
    [InlineData("Upper", "x")]
    [InlineData("a b", "x")]
    [InlineData(":path", "/other")]
    [InlineData(":status", "200")]
    [InlineData("", "x")]
    [InlineData("x", "a\r\nb: c")]
    [InlineData("x", "a\0")]
    [InlineData("x", "y", ":authority", "late")]
    public async Task A_malformed_request_is_reset_and_the_connection_goes_on(params string[] fields)
    {
        Http2Peer peer = new(answer: [1]);
        ArrayBufferWriter<byte> block = new();
        block.Write(Get);
        for (int i = 0; i < fields.Length; i += 2)
        {
            HpackWriter.Write(block, fields[i], fields[i + 1]);
        }

        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, block.WrittenSpan), .. Frame(1, 5, 3, Get)]);
        List<(FrameHead Head, byte[] Payload)> frames = await peer.UntilAsync(f => f.Head.Stream == 3 && f.Head.Has(FrameHead.EndStream));
        (FrameHead _, byte[] reset) = frames.Single(f => f.Head.Stream == 1);
        Assert.Equal(Number((int)Http2ErrorCode.ProtocolError), reset);
    }

    [Fact]
    public async Task Opening_and_cancelling_without_end_is_not_served()
    {
        Http2Peer peer = new(answer: null);
        ArrayBufferWriter<byte> flood = new();
        flood.Write(Preface);
        flood.Write(Frame(4, 0, 0));
        for (int i = 0; i < 30_000; i++)
        {
            flood.Write(Frame(1, 5, (2 * i) + 1, Get));
            flood.Write(Frame(3, 0, (2 * i) + 1, Number(8)));
        }

        Task sending = peer.SendAsync(flood.WrittenSpan.ToArray());
        List<(FrameHead Head, byte[] Payload)> frames = await peer.UntilAsync(f => f.Head.Type == FrameType.GoAway);
        Assert.Equal((uint)Http2ErrorCode.EnhanceYourCalm, BinaryPrimitives.ReadUInt32BigEndian(frames[^1].Payload.AsSpan(4)));
        await peer.Running.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);
        await sending;
    }

    [Fact]
    public void Any_frames_end_in_order()
    {
        Gen<byte[]> frame = Gen.Select(Gen.Int[0, 11], Gen.Byte, Gen.Int[0, 5], Gen.Byte.Array[0, 24]).Select((type, flags, stream, payload) => Frame((byte)type, flags, stream, payload));
        frame.List[1, 12].Sample(
            frames =>
            {
                Http2Peer peer = new(answer: [1]);
                byte[] all = [.. Preface, .. Frame(4, 0, 0), .. frames.SelectMany(static f => f)];
                peer.SendAsync(all).Wait(TimeSpan.FromSeconds(10));
                peer.EndAsync().Wait(TimeSpan.FromSeconds(10));
                Assert.True(peer.Running.Wait(TimeSpan.FromSeconds(10)));
            },
            iter: 2000);
    }
}

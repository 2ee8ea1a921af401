using Kapell.Etcd.Server.Http2;
using Microsoft.Extensions.Time.Testing;
using Xunit;
using static Kapell.Etcd.Tests.Http2.Http2Peer;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>When a ping is answered: a client of grpc-go sends one with nearly every answer that it gets.</summary>
public sealed class HeldPongsTests
{
    private const byte HeadersType = 1;
    private const byte PingType = 6;
    private static readonly byte[] Mark = "ping-one"u8.ToArray();

    private readonly FakeTimeProvider _time = new();
    private readonly Http2Peer _peer;

    public HeldPongsTests() => _peer = new Http2Peer(answer: [1], time: _time, pongs: new HeldPongs(_time));

    [Fact]
    public async Task One_that_no_data_came_before_is_answered_at_once()
    {
        await _peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(PingType, 0, 0, Mark)]);
        await PongAsync();

        // The next one too: the client only wants to know whether we are alive.
        await _peer.SendAsync(Frame(PingType, 0, 0, Mark));
        await PongAsync();
    }

    [Fact]
    public async Task One_after_data_goes_along_with_another_answer()
    {
        await BeginAsync();
        _time.Advance(HeldPongs.LongestWait / 2);
        List<(FrameHead Head, byte[] Payload)> frames = await AskAsync(5, more: []);
        Assert.Equal([FrameType.Headers, FrameType.Data, FrameType.Ping], [.. frames.Concat(await PongAsync()).Select(static f => f.Head.Type)]);
    }

    [Fact]
    public async Task Or_by_itself_when_none_comes()
    {
        await BeginAsync();
        _time.Advance(HeldPongs.LongestWait);
        await PongAsync();
    }

    [Fact]
    public async Task Many_are_answered_at_once_and_in_their_order()
    {
        await BeginAsync();
        List<(FrameHead Head, byte[] Payload)> frames = [];
        for (byte i = 1; i <= 4; i++)
        {
            frames.AddRange(await AskAsync(3 + (2 * i), Ping(i)));
        }

        byte[][] pongs = [.. frames.Where(static f => f.Head.Type == FrameType.Ping).Select(static f => f.Payload)];
        Assert.Equal([Mark[0], 1, 2, 3, 4], pongs.Select(static p => p[0]));
    }

    private static byte[] Ping(byte number) => Frame(PingType, 0, 0, [number, 0, 0, 0, 0, 0, 0, 0]);

    /// <summary>An answer with data, then a ping that has been read and not answered.</summary>
    private async Task BeginAsync()
    {
        await _peer.SendAsync([.. Preface, .. Frame(4, 0, 0)]);
        await _peer.UntilAsync(static f => f.Head.Type == FrameType.Settings && f.Head.Has(FrameHead.Ack));
        await AskAsync(1, more: []);
        List<(FrameHead Head, byte[] Payload)> frames = await AskAsync(3, Frame(PingType, 0, 0, Mark));
        Assert.DoesNotContain(frames, static f => f.Head.Type == FrameType.Ping);
    }

    /// <param name="more">What comes in one piece with the request, before it.</param>
    private async Task<List<(FrameHead Head, byte[] Payload)>> AskAsync(int stream, byte[] more)
    {
        await _peer.SendAsync([.. more, .. Frame(HeadersType, FrameHead.EndHeaders | FrameHead.EndStream, stream, Get)]);
        return await _peer.UntilAsync(f => f.Head.Type == FrameType.Data && f.Head.Stream == stream);
    }

    private async Task<List<(FrameHead Head, byte[] Payload)>> PongAsync() =>
        await _peer.UntilAsync(static f => f.Head.Type == FrameType.Ping && f.Head.Has(FrameHead.Ack) && f.Payload.SequenceEqual(Mark));
}

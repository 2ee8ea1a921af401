using Kapell.Etcd.Server.Http2;
using Microsoft.Extensions.Time.Testing;
using Xunit;
using static Kapell.Etcd.Tests.Http2.Http2Peer;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>A client that is gone without a word is noticed. etcd: --grpc-keepalive-interval, --grpc-keepalive-timeout</summary>
public sealed class Http2KeepAliveTests
{
    private const byte PingType = 6;
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);
    private static readonly KeepAlivePolicy Policy = new(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20));

    private readonly FakeTimeProvider _time = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Who_does_not_answer_is_given_up()
    {
        Http2Peer peer = await BeginAsync();
        _time.Advance(Policy.Interval);
        await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping);
        _time.Advance(Policy.Timeout - TimeSpan.FromMilliseconds(1));
        Assert.False(peer.Running.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task Who_answers_stays_and_is_asked_again()
    {
        Http2Peer peer = await BeginAsync();
        for (int i = 0; i < 3; i++)
        {
            _time.Advance(i == 0 ? Policy.Interval : Policy.Interval - Policy.Timeout);
            (FrameHead _, byte[] asked) = (await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping))[^1];
            await HeardAsync(peer, Frame(PingType, FrameHead.Ack, 0, asked), (byte)(2 + i));
            _time.Advance(Policy.Timeout);
            Assert.False(peer.Running.IsCompleted);
        }

        await peer.EndAsync();
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task Who_says_something_is_not_asked()
    {
        Http2Peer peer = await BeginAsync();
        _time.Advance(Policy.Interval - TimeSpan.FromSeconds(1));
        await HeardAsync(peer, [], 2);
        _time.Advance(Policy.Interval - TimeSpan.FromSeconds(1));
        List<(FrameHead Head, byte[] Payload)> frames = await HeardAsync(peer, [], 3);
        Assert.DoesNotContain(frames, static f => f.Head.Type == FrameType.Ping && !f.Head.Has(FrameHead.Ack));
        await peer.EndAsync();
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public void Without_a_time_nobody_is_asked()
    {
        Assert.Null(KeepAlivePolicy.Of(TimeSpan.Zero, TimeSpan.FromSeconds(1)));
        Assert.Null(KeepAlivePolicy.Of(TimeSpan.FromSeconds(1), TimeSpan.Zero));
        Assert.Equal(TimeSpan.FromSeconds(1), KeepAlivePolicy.Of(TimeSpan.FromTicks(1), TimeSpan.FromTicks(1))!.Interval);
        Assert.True(KeepAlivePolicy.Of(TimeSpan.MaxValue, TimeSpan.MaxValue)!.Interval < TimeSpan.FromMilliseconds(uint.MaxValue - 1));
    }

    private async Task<Http2Peer> BeginAsync()
    {
        Http2Peer peer = new(answer: null, time: _time, keepAlive: Policy);
        await HeardAsync(peer, [.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)], 1);
        return peer;
    }

    // The server has read all of it when it answers the ping behind it.
    private static async Task<List<(FrameHead Head, byte[] Payload)>> HeardAsync(Http2Peer peer, byte[] bytes, byte number)
    {
        byte[] mark = [0, 0, 0, 0, 0, 0, 0, number];
        await peer.SendAsync([.. bytes, .. Frame(PingType, 0, 0, mark)]);
        return await peer.UntilAsync(f => f.Head.Type == FrameType.Ping && f.Payload.SequenceEqual(mark));
    }
}

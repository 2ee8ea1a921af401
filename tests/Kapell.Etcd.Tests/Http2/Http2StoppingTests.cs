using System.Buffers.Binary;
using Kapell.Etcd.Server.Http2;
using Microsoft.Extensions.Time.Testing;
using Xunit;
using static Kapell.Etcd.Tests.Http2.Http2Peer;

namespace Kapell.Etcd.Tests.Http2;

/// <summary>A server that stops says so, and answers what it has been asked (RFC 9113 §6.8).</summary>
public sealed class Http2StoppingTests
{
    private const byte PingType = 6;
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_under_way_and_what_the_client_began_before_it_heard_is_answered()
    {
        using CancellationTokenSource stopping = new();
        TaskCompletionSource answer = new();
        Http2Peer peer = new(answer: [1, 2, 3], answer.Task, time: new FakeTimeProvider(), stopping: stopping.Token);
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)]);
        await peer.UntilAsync(static f => f.Head.Type == FrameType.Settings && f.Head.Has(FrameHead.Ack));
        await stopping.CancelAsync();
        List<(FrameHead Head, byte[] Payload)> first = await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping);
        Assert.Equal(int.MaxValue, LastStream(first));

        // Under way when the GOAWAY came, begun before it was acknowledged, and begun after.
        await peer.SendAsync([.. Frame(1, 5, 3, Get), .. Frame(PingType, FrameHead.Ack, 0, first[^1].Payload)]);
        Assert.Equal(3, LastStream(await peer.UntilAsync(static f => f.Head.Type == FrameType.GoAway)));
        await peer.SendAsync(Frame(1, 5, 5, Get));
        List<(FrameHead Head, byte[] Payload)> refused = await peer.UntilAsync(static f => f.Head.Stream == 5);
        Assert.Equal((uint)Http2ErrorCode.RefusedStream, BinaryPrimitives.ReadUInt32BigEndian(refused[^1].Payload));
        Assert.False(peer.Running.IsCompleted);
        answer.SetResult();
        int ended = 0;
        List<(FrameHead Head, byte[] Payload)> answers = await peer.UntilAsync(f => f.Head.Has(FrameHead.EndStream) && ++ended == 2);
        Assert.Equal([1, 3], answers.Where(static f => f.Head.Type == FrameType.Data).Select(static f => f.Head.Stream).Order());
        Assert.False(peer.Running.IsCompleted, "the client closes first");
        await peer.EndAsync();
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task A_connection_on_which_nothing_is_under_way_ends_when_the_client_has_heard_and_closed()
    {
        using CancellationTokenSource stopping = new();
        Http2Peer peer = new(answer: [1], stopping: stopping.Token, time: new FakeTimeProvider());
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)]);
        await peer.UntilAsync(static f => f.Head.Stream == 1 && f.Head.Has(FrameHead.EndStream));
        await stopping.CancelAsync();
        List<(FrameHead Head, byte[] Payload)> first = await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping);
        await peer.SendAsync(Frame(PingType, FrameHead.Ack, 0, first[^1].Payload));
        Assert.Equal(1, LastStream(await peer.UntilAsync(static f => f.Head.Type == FrameType.GoAway)));
        await peer.EndAsync();
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task A_client_that_says_nothing_is_not_waited_for()
    {
        using CancellationTokenSource stopping = new();
        FakeTimeProvider time = new();
        Http2Peer peer = new(answer: [1], stopping: stopping.Token, time: time);
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0)]);
        await stopping.CancelAsync();
        await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping);
        while (!peer.Running.IsCompleted)
        {
            // The timer starts after the ping has gone out.
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1, Cancellation);
        }

        Assert.Equal(0, LastStream(await peer.UntilAsync(static f => f.Head.Type == FrameType.GoAway && LastStream([f]) == 0)));
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task Another_ping_is_no_sign_that_the_client_has_heard()
    {
        using CancellationTokenSource stopping = new();
        Http2Peer peer = new(answer: [1], stopping: stopping.Token, time: new FakeTimeProvider());
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0)]);
        await stopping.CancelAsync();
        await peer.UntilAsync(static f => f.Head.Type == FrameType.Ping);
        await peer.SendAsync([.. Frame(PingType, FrameHead.Ack, 0, new byte[8]), .. Frame(1, 5, 1, Get)]);
        List<(FrameHead Head, byte[] Payload)> served = await peer.UntilAsync(static f => f.Head.Stream == 1 && f.Head.Has(FrameHead.EndStream));
        Assert.DoesNotContain(served, static f => f.Head.Type == FrameType.GoAway);
        Assert.False(peer.Running.IsCompleted);
        await peer.EndAsync();
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    [Fact]
    public async Task What_has_no_end_of_its_own_is_ended()
    {
        using CancellationTokenSource stopping = new();
        Http2Peer peer = new(answer: null, stopping: stopping.Token, endless: true);
        await peer.SendAsync([.. Preface, .. Frame(4, 0, 0), .. Frame(1, 5, 1, Get)]);
        await peer.UntilAsync(static f => f.Head.Type == FrameType.Settings && f.Head.Has(FrameHead.Ack));
        await stopping.CancelAsync();
        List<(FrameHead Head, byte[] Payload)> frames = await peer.UntilAsync(static f => f.Head.Stream == 1 && f.Head.Has(FrameHead.EndStream));
        Assert.Equal([9], frames.Single(static f => f.Head.Type == FrameType.Data).Payload);
        await peer.Running.WaitAsync(Soon, Cancellation);
    }

    private static int LastStream(IEnumerable<(FrameHead Head, byte[] Payload)> frames) =>
        BinaryPrimitives.ReadInt32BigEndian(frames.Last(static f => f.Head.Type == FrameType.GoAway).Payload);
}

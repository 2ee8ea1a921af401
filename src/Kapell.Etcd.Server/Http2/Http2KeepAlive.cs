namespace Kapell.Etcd.Server.Http2;

/// <summary>When a silent client is asked whether it is still there. etcd: embed/config.go GRPCKeepAliveInterval, GRPCKeepAliveTimeout</summary>
/// <param name="Interval">Of silence before it is asked, above zero.</param>
/// <param name="Timeout">In which it must say something then, above zero.</param>
internal sealed record KeepAlivePolicy(TimeSpan Interval, TimeSpan Timeout)
{
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromSeconds(1); // grpc-go: KeepaliveMinServerPingTime
    private static readonly TimeSpan Longest = TimeSpan.FromDays(30); // No timer takes more than seven weeks.

    /// <summary>Null when one of them is no time: then nobody is asked.</summary>
    public static KeepAlivePolicy? Of(TimeSpan interval, TimeSpan timeout) =>
        interval > TimeSpan.Zero && timeout > TimeSpan.Zero ? new KeepAlivePolicy(Shorter(interval > ShortestInterval ? interval : ShortestInterval), Shorter(timeout)) : null;

    private static TimeSpan Shorter(TimeSpan time) => time < Longest ? time : Longest;
}

/// <summary>
/// Notices that a client is gone without a word, as behind a cut cable: one that only watches would keep its streams for ever. Anything
/// that comes counts as life, the answer to a ping too.
/// </summary>
internal sealed class Http2KeepAlive : IAsyncDisposable
{
    private readonly KeepAlivePolicy _policy;
    private readonly Http2Output _output;
    private readonly TimeProvider _time;
    private readonly Action _giveUp;
    private readonly ITimer _timer;
    private long _heard;
    private long _asked = -1; // The value of _heard when the ping went out; -1: none is under way.

    /// <param name="giveUp">Called once, on a timer's thread: the client has said nothing in time.</param>
    public Http2KeepAlive(KeepAlivePolicy policy, Http2Output output, TimeProvider time, Action giveUp)
    {
        (_policy, _output, _time, _giveUp) = (policy, output, time, giveUp);
        _heard = time.GetTimestamp();
        _timer = time.CreateTimer(static self => ((Http2KeepAlive)self!).Look(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(policy.Interval, Timeout.InfiniteTimeSpan);
    }

    private static ReadOnlySpan<byte> Ping => "are you?"u8;

    /// <summary>Something came. From the reader.</summary>
    public void Heard() => Volatile.Write(ref _heard, _time.GetTimestamp());

    public ValueTask DisposeAsync() => _timer.DisposeAsync();

    private void Look()
    {
        long heard = Volatile.Read(ref _heard);
        if (_asked == heard)
        {
            _giveUp();
            return;
        }

        TimeSpan left = _policy.Interval - _time.GetElapsedTime(heard);
        if (left > TimeSpan.Zero)
        {
            _asked = -1;
            _timer.Change(left, Timeout.InfiniteTimeSpan);
            return;
        }

        try
        {
            _output.Frame(FrameType.Ping, 0, 0, Ping);
        }
        catch (Http2Exception)
        {
            // It has not read megabytes that wait for it.
            _giveUp();
            return;
        }

        _asked = heard;
        _timer.Change(_policy.Timeout, Timeout.InfiniteTimeSpan);
    }
}

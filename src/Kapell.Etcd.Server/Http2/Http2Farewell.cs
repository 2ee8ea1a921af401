using System.Buffers;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// How a server leaves a connection, in two steps (RFC 9113 §6.8): a first GOAWAY asks for no new streams, and those that the client began
/// before it heard of that are still served; once it has heard, or said nothing for a second, a second one names the last stream. When that
/// and all others have been answered the client closes, or the server after another second. Belongs to the connection's reader.
/// </summary>
internal sealed class Http2Farewell(Http2Output output, TimeProvider time, Action wakeReader) : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private ITimer? _timer;
    private volatile bool _isAsked;
    private volatile bool _isHeard;
    private volatile bool _isFinal;
    private volatile bool _isLate;
    private bool _isWaiting;

    private static ReadOnlySpan<byte> Ping => "farewell"u8;

    /// <summary>No stream is taken any more. From any thread.</summary>
    public bool IsFinal => _isFinal;

    /// <summary>The server stops. From any thread.</summary>
    public void Begin()
    {
        _isAsked = true;
        wakeReader();
    }

    /// <summary>The next step if it is due; true when the streams must be told.</summary>
    /// <param name="lastStream">That the client has begun.</param>
    public bool Step(int lastStream)
    {
        if (!_isAsked || _isFinal || (_timer is not null && !_isHeard))
        {
            return false;
        }

        if (_timer is null)
        {
            output.GoAway(Http2ErrorCode.NoError, int.MaxValue);
            output.Frame(FrameType.Ping, 0, 0, Ping);
            _timer = time.CreateTimer(_ => PatienceEnds(), null, Patience, Timeout.InfiniteTimeSpan);
        }
        else
        {
            _isFinal = true;
            output.GoAway(Http2ErrorCode.NoError, lastStream);
        }

        return true;
    }

    /// <summary>The client has answered a ping: ours, or one that we never sent.</summary>
    public void Answered(ReadOnlySequence<byte> ping)
    {
        Span<byte> bytes = stackalloc byte[8];
        ping.CopyTo(bytes);
        _isHeard |= _timer is not null && bytes.SequenceEqual(Ping);
    }

    /// <summary>After the last answer: whether the client has had time to read it and to close. Some take what they have not read for lost otherwise.</summary>
    public bool HasWaited()
    {
        if (!_isWaiting)
        {
            _isWaiting = true;
            _isLate = false;
            _timer?.Change(Patience, Timeout.InfiniteTimeSpan);
        }

        return _isLate || _timer is null;
    }

    public ValueTask DisposeAsync() => _timer?.DisposeAsync() ?? ValueTask.CompletedTask;

    private void PatienceEnds()
    {
        _isLate = _isHeard;
        _isHeard = true;
        wakeReader();
    }
}

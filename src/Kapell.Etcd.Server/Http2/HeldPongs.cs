using System.Collections.Concurrent;

namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// Connections with answers to pings that wait. A client of grpc-go measures its connection: with the data of nearly every answer it sends a
/// ping, unless the last one is still under way. Answered at once these are as many packets, each way, as the calls. What we hold back for
/// a moment goes with another answer, and the client counts what comes meanwhile as under way, so that its windows grow no later. A ping
/// that no data came before asks whether we are alive and is answered at once. (grpc-go: internal/transport/bdp_estimator.go)
/// </summary>
internal sealed class HeldPongs(TimeProvider time)
{
    /// <summary>None waits longer.</summary>
    public static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(50);

    private readonly ConcurrentQueue<Http2Output> _waiting = new();
    private ITimer? _timer;
    private int _isArmed;

    public TimeProvider Time => time;

    /// <summary>From any thread; once until <see cref="Http2Output.LetPongsGo"/>.</summary>
    public void Add(Http2Output output)
    {
        _waiting.Enqueue(output);
        if (Interlocked.Exchange(ref _isArmed, 1) == 0)
        {
            _timer ??= time.CreateTimer(static self => ((HeldPongs)self!).LetGo(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _timer.Change(LongestWait, Timeout.InfiniteTimeSpan);
        }
    }

    private void LetGo()
    {
        // First: who comes from now on arms it again.
        Volatile.Write(ref _isArmed, 0);
        while (_waiting.TryDequeue(out Http2Output? output))
        {
            output.LetPongsGo();
        }
    }
}

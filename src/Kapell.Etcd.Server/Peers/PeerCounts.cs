using Kapell.Base;

namespace Kapell.Etcd.Server.Peers;

/// <summary>What has passed between this member and another one since the start, for who watches over this member. etcd: rafthttp/metrics.go</summary>
internal sealed class PeerCounts
{
    private long _sentBytes;
    private long _receivedBytes;
    private long _sendFailures;
    private long _receiveFailures;
    private long _disconnects;

    public long SentBytes => Interlocked.Read(ref _sentBytes);

    public long ReceivedBytes => Interlocked.Read(ref _receivedBytes);

    /// <summary>Messages that were dropped, and streams that broke while there was something to send.</summary>
    public long SendFailures => Interlocked.Read(ref _sendFailures);

    /// <summary>Streams that the other member sent nonsense on, or left in the middle of a message.</summary>
    public long ReceiveFailures => Interlocked.Read(ref _receiveFailures);

    public long Disconnects => Interlocked.Read(ref _disconnects);

    /// <summary>A question and its answer on a connection that is there, in seconds.</summary>
    public Histogram RoundTrips { get; } = Histogram.Exponential(0.0001, 2, 16);

    /// <summary>Checkpoints that go to the other member.</summary>
    public SnapshotCounts Snapshots { get; } = new();

    /// <summary>Checkpoints that come from it.</summary>
    public SnapshotCounts ReceivedSnapshots { get; } = new();

    public void Sent(int bytes) => Interlocked.Add(ref _sentBytes, bytes);

    public void Received(long bytes) => Interlocked.Add(ref _receivedBytes, bytes);

    public void SendFailed() => Interlocked.Increment(ref _sendFailures);

    public void ReceiveFailed() => Interlocked.Increment(ref _receiveFailures);

    public void Disconnected() => Interlocked.Increment(ref _disconnects);
}

/// <summary>Checkpoints in one direction.</summary>
internal sealed class SnapshotCounts
{
    private int _underWay;
    private long _failures;

    public int UnderWay => Volatile.Read(ref _underWay);

    public long Failures => Interlocked.Read(ref _failures);

    /// <summary>Seconds of each that arrived whole.</summary>
    public Histogram Times { get; } = Histogram.Exponential(0.1, 2, 10);

    public long Successes => Times.Cumulated()[^1];

    public void Begun() => Interlocked.Increment(ref _underWay);

    public void Ended(TimeSpan took, bool whole)
    {
        Interlocked.Decrement(ref _underWay);
        if (whole)
        {
            Times.Observe(took.TotalSeconds);
        }
        else
        {
            Interlocked.Increment(ref _failures);
        }
    }
}

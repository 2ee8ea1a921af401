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
    private int _sending;
    private int _receiving;
    private long _snapshotFailures;
    private long _receivedSnapshotFailures;

    public long SentBytes => Interlocked.Read(ref _sentBytes);

    public long ReceivedBytes => Interlocked.Read(ref _receivedBytes);

    /// <summary>Messages that were dropped, and streams that broke while there was something to send.</summary>
    public long SendFailures => Interlocked.Read(ref _sendFailures);

    /// <summary>Streams that the other member sent nonsense on, or left in the middle of a message.</summary>
    public long ReceiveFailures => Interlocked.Read(ref _receiveFailures);

    public long Disconnects => Interlocked.Read(ref _disconnects);

    /// <summary>A question and its answer on a connection that is there, in seconds.</summary>
    public Histogram RoundTrips { get; } = Histogram.Exponential(0.0001, 2, 16);

    /// <summary>Checkpoints that are being sent now: none or one.</summary>
    public int SnapshotsUnderWay => Volatile.Read(ref _sending);

    public long SnapshotFailures => Interlocked.Read(ref _snapshotFailures);

    /// <summary>Seconds of each checkpoint that was sent whole.</summary>
    public Histogram Snapshots { get; } = Histogram.Exponential(0.1, 2, 10);

    public int ReceivedSnapshotsUnderWay => Volatile.Read(ref _receiving);

    public long ReceivedSnapshotFailures => Interlocked.Read(ref _receivedSnapshotFailures);

    public Histogram ReceivedSnapshots { get; } = Histogram.Exponential(0.1, 2, 10);

    public void Sent(int bytes) => Interlocked.Add(ref _sentBytes, bytes);

    public void Received(long bytes) => Interlocked.Add(ref _receivedBytes, bytes);

    public void SendFailed() => Interlocked.Increment(ref _sendFailures);

    public void ReceiveFailed() => Interlocked.Increment(ref _receiveFailures);

    public void Disconnected() => Interlocked.Increment(ref _disconnects);

    public void SnapshotBegun() => Interlocked.Increment(ref _sending);

    public void SnapshotEnded(TimeSpan took, bool whole)
    {
        Interlocked.Decrement(ref _sending);
        if (whole)
        {
            Snapshots.Observe(took.TotalSeconds);
        }
        else
        {
            Interlocked.Increment(ref _snapshotFailures);
        }
    }

    public void ReceivedSnapshotBegun() => Interlocked.Increment(ref _receiving);

    public void ReceivedSnapshotEnded(TimeSpan took, bool whole)
    {
        Interlocked.Decrement(ref _receiving);
        if (whole)
        {
            ReceivedSnapshots.Observe(took.TotalSeconds);
        }
        else
        {
            Interlocked.Increment(ref _receivedSnapshotFailures);
        }
    }
}

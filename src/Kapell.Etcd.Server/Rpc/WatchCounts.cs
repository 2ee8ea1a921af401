namespace Kapell.Etcd.Server.Rpc;

/// <summary>What the watch streams do, for who watches over this member.</summary>
public sealed class WatchCounts
{
    private int _streams;
    private int _slow;
    private long _events;

    /// <summary>Streams that are open now.</summary>
    public int Streams => Volatile.Read(ref _streams);

    /// <summary>Watches that read the history because they fell behind or started there.</summary>
    public int Slow => Volatile.Read(ref _slow);

    /// <summary>Events sent.</summary>
    public long Events => Interlocked.Read(ref _events);

    public void Stream(int change) => Interlocked.Add(ref _streams, change);

    public void Lagging(int change) => Interlocked.Add(ref _slow, change);

    public void Sent(int events) => Interlocked.Add(ref _events, events);
}

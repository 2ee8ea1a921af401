using System.Buffers;

namespace Kapell.Etcd.Server.Http2;

/// <summary>One request and its response. The incoming half belongs to the connection's reader, the outgoing half to its output.</summary>
internal sealed class Http2Stream(int id, int sendWindow, List<HpackHeader> headers)
{
    private CancellationTokenSource? _ending;
    private Queue<Outgoing>? _outgoing;
    private bool _isOver;

    public int Id => id;

    public IReadOnlyList<HpackHeader> Headers => headers;

    /// <summary>Of the application.</summary>
    public IHttp2Request? Request { get; set; }

    // Incoming.
    public bool IsReceiveClosed { get; set; }

    public int Unacknowledged { get; set; }

    // Outgoing; under the lock of the output.
    public Queue<Outgoing> Outgoing => _outgoing ??= new Queue<Outgoing>(2);

    /// <summary>Most streams never have anything that waits.</summary>
    public bool OutgoingIsEmpty => _outgoing is not { Count: > 0 };

    public long SendWindow { get; set; } = sendWindow;

    public long OutgoingBytes { get; set; }

    /// <summary>Something waits: for the stream's window, or in the line of those who wait for the connection.</summary>
    public bool IsBlocked { get; set; }

    /// <summary>In that line.</summary>
    public bool IsQueued { get; set; }

    public bool IsSendClosed { get; set; }

    /// <summary>What the client gives it, once the application has read that; null for as long as it takes.</summary>
    public TimeSpan? Timeout { get; set; }

    /// <summary>When the client has given up, in ticks of its connection; 0 for never.</summary>
    public long Deadline { get; set; }

    /// <summary>Cancelled when the client or the connection is gone, or its time is up.</summary>
    public CancellationToken Ending
    {
        get
        {
            lock (this)
            {
                if (_ending is null)
                {
                    _ending = new CancellationTokenSource();
                    if (_isOver)
                    {
                        _ending.Cancel();
                    }
                }

                return _ending.Token;
            }
        }
    }

    public bool IsOver => Volatile.Read(ref _isOver);

    /// <summary>From any thread, any number of times.</summary>
    public void Cancel()
    {
        CancellationTokenSource? ending;
        lock (this)
        {
            if (_isOver)
            {
                return;
            }

            _isOver = true;
            ending = _ending;
        }

        // Whoever waits for this does not get to run on the connection's thread.
        ending?.CancelAsync();
    }

    public HpackHeader? Find(ReadOnlySpan<byte> name)
    {
        foreach (HpackHeader header in headers)
        {
            if (header.Is(name))
            {
                return header;
            }
        }

        return null;
    }
}

/// <summary>What a request does with its body. Called by the connection's reader: it must not wait.</summary>
internal interface IHttp2Request
{
    /// <summary>A piece of the body; to be copied if it is kept. False refuses it: the stream is over.</summary>
    bool Data(ReadOnlySequence<byte> piece);

    /// <summary>The client has sent all it wanted.</summary>
    void End();

    /// <summary>The stream is over before its time.</summary>
    void Abort();

    /// <summary>The server stops: what has no end of its own ends now, with an answer that says why. May come more than once.</summary>
    void ServerStops();
}

using Kapell.Etcd.Protocol;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>
/// One watch of a stream: a cursor in the log of changes. While it keeps up, the places of its events are handed to it
/// (<see cref="Offer"/>); when too many wait, or it starts in the past, it lags: then it reads the log itself from where it is, and
/// nobody waits for it. What both sides touch is guarded by the lock of the stream.
/// </summary>
internal sealed class Watcher : IWatchTarget
{
    // Beyond this it costs less to read the log again.
    private const int PendingMax = 8192;

    private readonly WatchSession _session;
    private readonly bool _noPut;
    private readonly bool _noDelete;

    /// <summary>Null while nothing waits: there may be a million watches of which nothing ever changes.</summary>
    private Queue<long>? _pending;

    public Watcher(WatchSession session, long id, WatchCreateRequest request)
    {
        _session = session;
        Id = id;
        Key = KeyOf(request);
        End = request.RangeEnd.ToByteArray();
        StartRevision = request.StartRevision;
        PreviousValues = request.PrevKv;
        Fragments = request.Fragment;
        NotifiesProgress = request.ProgressNotify;
        _noPut = request.Filters.Contains(WatchCreateRequest.Types.FilterType.Noput);
        _noDelete = request.Filters.Contains(WatchCreateRequest.Types.FilterType.Nodelete);
    }

    public long Id { get; }

    /// <summary>Where the range begins: without a key, at the smallest there is.</summary>
    public static byte[] KeyOf(WatchCreateRequest request) => request.Key.IsEmpty ? [0] : request.Key.ToByteArray();

    public byte[] Key { get; }

    public byte[] End { get; }

    /// <summary>Zero: from now on.</summary>
    public long StartRevision { get; }

    public bool PreviousValues { get; }

    public bool Fragments { get; }

    public bool NotifiesProgress { get; }

    /// <summary>Whether something was sent since the last look of the progress timer.</summary>
    public bool SentSomething { get; set; }

    /// <summary>In the hub, so that changes are offered.</summary>
    public bool Registered { get; set; }

    /// <summary>What stands in the hub for this watch, when it is not the watch itself.</summary>
    public IWatchTarget? Between { get; set; }

    /// <summary>Noted by the stream as one that may have work; under the lock.</summary>
    public bool IsNoted { get; set; }

    /// <summary>Reads the log itself, from <see cref="Next"/>.</summary>
    public bool Lags { get; private set; }

    public long Next { get; private set; }

    public bool HasWork => Registered && (Lags || _pending is not null);

    /// <summary>Under the lock, when it is registered: where to begin.</summary>
    public void StartAt(long position, bool inThePast)
    {
        Next = position;
        SetLags(inThePast);
        Registered = true;
    }

    public void Offer(long position, bool tombstone)
    {
        if (tombstone ? _noDelete : _noPut)
        {
            return;
        }

        lock (_session.Lock)
        {
            if (!Lags && _pending?.Count == PendingMax)
            {
                // What waits is sent before the log is read from here on.
                SetLags(true);
                Next = position;
            }

            if (!Lags)
            {
                (_pending ??= new Queue<long>()).Enqueue(position);
            }

            _session.Note(this);
        }

        _session.Signal();
    }

    public void Moved(MvccStore former, MvccStore store)
    {
        lock (_session.Lock)
        {
            long place = _pending is { } waiting ? waiting.Peek() : Lags ? Next : former.LogEnd;
            long revision = place >= former.LogEnd ? former.Revision + 1 : former.ReadChange(place, out long at, out _) ? at : 0;
            _pending = null;
            SetLags(true);
            _session.Note(this);

            // What it did not ask for may be compacted: that is no loss to it.
            revision = Math.Max(revision, StartRevision);

            // Before the log's begin: the next look finds it compacted and says so.
            Next = revision < store.CompactRevision ? -1 : store.PositionOf(revision);
        }

        _session.Signal();
    }

    /// <summary>Under the lock, while nobody changes the store: the place of the next event, if there is one.</summary>
    public long? Peek(MvccStore store)
    {
        if (_pending is { } waiting)
        {
            return waiting.Peek();
        }

        while (Lags)
        {
            if (Next >= store.LogEnd)
            {
                // Caught up, and nothing can happen between this and the next offer.
                SetLags(false);
                return null;
            }

            if (!store.ReadChange(Next, out _, out RecordAddress address) || Matches(store, address))
            {
                return Next;
            }

            Next++;
        }

        return null;
    }

    public void Advance(bool sent)
    {
        _session.Counts.Sent(sent ? 1 : 0);
        if (!TakePending())
        {
            Next++;
        }
    }

    /// <summary>The next place was compacted away: true when it lay before what this watch asked for, and so is no loss.</summary>
    public bool SkipUnwanted(MvccStore store)
    {
        if (StartRevision < store.CompactRevision)
        {
            return false;
        }

        if (!TakePending())
        {
            Next = store.PositionOf(StartRevision);
        }

        return true;
    }

    /// <summary>It is no watch any more.</summary>
    public void Leave() => SetLags(false);

    private bool TakePending()
    {
        if (_pending is null)
        {
            return false;
        }

        _pending.Dequeue();
        if (_pending.Count == 0)
        {
            _pending = null;
        }

        return true;
    }

    private void SetLags(bool lags)
    {
        if (lags != Lags)
        {
            Lags = lags;
            _session.Counts.Lagging(lags ? 1 : -1);
        }
    }

    private bool Matches(MvccStore store, RecordAddress address) =>
        !(address.IsTombstone ? _noDelete : _noPut) && KeyRange.Contains(Key, End, store.Read(address).Key);
}

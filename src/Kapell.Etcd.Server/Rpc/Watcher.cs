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
    private readonly WatchCounts _counts;
    private readonly Lock _lock;
    private readonly bool _noPut;
    private readonly bool _noDelete;
    private readonly Queue<long> _pending = new();

    public Watcher(WatchSession session, Lock streamLock, long id, WatchCreateRequest request, WatchCounts counts)
    {
        _counts = counts;
        _session = session;
        _lock = streamLock;
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

    /// <summary>What stands in the hub for this watch.</summary>
    public IWatchTarget? Target { get; set; }

    /// <summary>Reads the log itself, from <see cref="Next"/>.</summary>
    public bool Lags { get; private set; }

    public long Next { get; private set; }

    public bool HasWork => Registered && (Lags || _pending.Count > 0);

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

        lock (_lock)
        {
            if (!Lags && _pending.Count == PendingMax)
            {
                SetLags(true);
                Next = position;
            }

            if (!Lags)
            {
                _pending.Enqueue(position);
            }
        }

        _session.Signal();
    }

    public void Moved(MvccStore former, MvccStore store)
    {
        lock (_lock)
        {
            long place = _pending.TryPeek(out long first) ? first : Lags ? Next : former.LogEnd;
            long revision = place >= former.LogEnd ? former.Revision + 1 : former.ReadChange(place, out long at, out _) ? at : 0;
            _pending.Clear();
            SetLags(true);

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
        if (_pending.TryPeek(out long position))
        {
            return position;
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
        _counts.Sent(sent ? 1 : 0);
        if (!_pending.TryDequeue(out _))
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

        if (!_pending.TryDequeue(out _))
        {
            Next = store.PositionOf(StartRevision);
        }

        return true;
    }

    /// <summary>It is no watch any more.</summary>
    public void Leave() => SetLags(false);

    private void SetLags(bool lags)
    {
        if (lags != Lags)
        {
            Lags = lags;
            _counts.Lagging(lags ? 1 : -1);
        }
    }

    private bool Matches(MvccStore store, RecordAddress address) =>
        !(address.IsTombstone ? _noDelete : _noPut) && KeyRange.Contains(Key, End, store.Read(address).Key);
}

using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>Takes what <see cref="RevisionSource"/> gives; <paramref name="record"/> is only valid during the call.</summary>
public delegate void RevisionSink(RevisionKey key, in KeyValueRecord record);

/// <summary>
/// The store at one revision in the order of revisions, in pieces: what was written up to the compacted revision and is still the
/// state there, then every change since. First <see cref="Find"/>, then <see cref="Next"/>, which needs what a reader needs, until it is done;
/// <see cref="Dispose"/> by whoever called these, and <see cref="End"/>, which needs the owner. Holds 24 bytes a key that has not changed since the compaction.
/// </summary>
public sealed unsafe class RevisionSource : IDisposable
{
    private const int EntryCost = 16;
    private const int Ahead = 16;

    private readonly MvccStore _store;
    private readonly bool _unchangedOnly;
    private readonly FoundRevisions _base = new();
    private readonly long _endPosition;
    private byte[] _lastKey = [];
    private long _position;
    private int _nextBase;
    private bool _anything;
    private bool _ended;

    /// <param name="unchangedOnly">
    /// Of what is older than the log only that which is still the state at <paramref name="revision"/>, unless nothing is.
    /// </param>
    internal RevisionSource(MvccStore store, long revision, bool unchangedOnly = false)
    {
        _store = store;
        _unchangedOnly = unchangedOnly;
        Revision = revision;
        CompactRevision = store.CompactRevision;
        Leases = store.Leases.All();
        _position = store.Log.LowerBound(CompactRevision + 1);
        _endPosition = store.Log.LowerBound(revision + 1);
        store.Pin();
    }

    public long Revision { get; }

    public long CompactRevision { get; }

    public IReadOnlyList<LeaseInfo> Leases { get; }

    /// <summary>Finds what is older than the log, and puts it in order, which takes long and needs nothing of the store.</summary>
    /// <param name="guarded">Does a piece of work while nobody changes the store.</param>
    /// <param name="budget">About how many bytes a piece looks at.</param>
    public void Find(Action<Action> guarded, int budget, CancellationToken stopping)
    {
        Check.That(!_base.IsArranged && !_ended);
        bool more = CompactRevision > 0;
        while (more)
        {
            stopping.ThrowIfCancellationRequested();
            guarded(() => more = Collect(budget));
        }

        _base.Arrange();
    }

    /// <summary>Gives about <paramref name="budget"/> bytes more; false when all was given.</summary>
    public bool Next(RevisionSink sink, int budget)
    {
        Check.That(_base.IsArranged && !_ended);
        for (; _nextBase < _base.Count; _nextBase++)
        {
            if (budget <= 0)
            {
                return true;
            }

            // Neighbours in time lie far apart: many wait for memory together.
            if (_nextBase + Ahead < _base.Count)
            {
                RecordPages.Prefetch(_base[_nextBase + Ahead].Address);
            }

            FoundRevision item = _base[_nextBase];
            budget -= Give(sink, item.Main, item.Address);
        }

        for (; _position < _endPosition; _position++)
        {
            if (budget <= 0)
            {
                return true;
            }

            ref LogItem item = ref _store.Log[_position];
            budget -= Give(sink, item.Main, item.Address);
        }

        return false;
    }

    /// <summary>
    /// Frees the memory, on the thread of whoever reads: with millions of keys it takes longer than the owner has. Nothing can be read after.
    /// </summary>
    public void Dispose() => _base.Dispose();

    /// <summary>To be called by the owner of the store, whether or not all was given.</summary>
    public void End()
    {
        Check.That(!_ended);
        _ended = true;
        _store.Unpin();
    }

    /// <summary>False when all is found.</summary>
    private bool Collect(int budget)
    {
        KeyIndex index = _store.Index;
        KeyCursor cursor = index.LowerBound(_lastKey);
        for (KeyEntry* entry = index.At(cursor); entry != null; entry = index.At(cursor), budget -= EntryCost)
        {
            if (budget <= 0)
            {
                _lastKey = KeyIndex.Key(entry).ToArray();
                return true;
            }

            Look(entry);
            index.Next(ref cursor);
        }

        return false;
    }

    private void Look(KeyEntry* entry)
    {
        int at = KeyEntry.IndexAt(entry, CompactRevision);
        bool there = at >= 0 && !entry->Items[at].Address.IsTombstone;
        if (_unchangedOnly)
        {
            int now = KeyEntry.IndexAt(entry, Revision);
            if (!_anything && now >= 0 && !entry->Items[now].Address.IsTombstone)
            {
                // The first key that is there: none before it is.
                _anything = true;
                _base.Clear();
            }

            there &= at == now || !_anything;
        }

        if (there)
        {
            RecordAddress address = entry->Items[at].Address;
            _base.Add(new FoundRevision(entry->Items[at].Main, RecordPages.SubOf(address), address));
        }
    }

    private int Give(RevisionSink sink, long main, RecordAddress address)
    {
        KeyValueRecord record = _store.Read(address);
        sink(new RevisionKey(main, RecordPages.SubOf(address), address.IsTombstone), record);
        return record.Bytes.Length + EntryCost;
    }
}

using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>Takes what <see cref="RevisionSource"/> gives; <paramref name="record"/> is only valid during the call.</summary>
public delegate void RevisionSink(RevisionKey key, in KeyValueRecord record);

/// <summary>
/// The store at one revision in the order of revisions, in pieces: what was written up to the compacted revision and is still the
/// state there, then every change since. First <see cref="Collect"/> until it is done, then <see cref="Next"/>; both need what a
/// reader needs, and <see cref="End"/> needs the owner. Holds 24 bytes a key that has not changed since the compaction.
/// </summary>
public sealed unsafe class RevisionSource
{
    private const int EntryCost = 16;
    private readonly MvccStore _store;
    private readonly List<Item> _base = [];
    private readonly long _endPosition;
    private byte[] _lastKey = [];
    private long _position;
    private int _nextBase;
    private bool _collected;
    private bool _ended;

    internal RevisionSource(MvccStore store, long revision)
    {
        _store = store;
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

    /// <summary>Finds what is older than the log; false when all is found.</summary>
    public bool Collect(int budget)
    {
        Check.That(!_ended);
        if (_collected || CompactRevision == 0)
        {
            _collected = true;
            return false;
        }

        KeyIndex index = _store.Index;
        KeyCursor cursor = index.LowerBound(_lastKey);
        for (KeyEntry* entry = index.At(cursor); entry != null; entry = index.At(cursor), budget -= EntryCost)
        {
            if (budget <= 0)
            {
                _lastKey = KeyIndex.Key(entry).ToArray();
                return true;
            }

            int at = KeyEntry.IndexAt(entry, CompactRevision);
            if (at >= 0 && !entry->Items[at].Address.IsTombstone)
            {
                RecordAddress address = entry->Items[at].Address;
                _base.Add(new Item(entry->Items[at].Main, RecordPages.SubOf(address), address));
            }

            index.Next(ref cursor);
        }

        _base.Sort(static (a, b) => a.Main != b.Main ? a.Main.CompareTo(b.Main) : a.Sub.CompareTo(b.Sub));
        _collected = true;
        return false;
    }

    /// <summary>Gives about <paramref name="budget"/> bytes more; false when all was given.</summary>
    public bool Next(RevisionSink sink, int budget)
    {
        Check.That(_collected && !_ended);
        for (; _nextBase < _base.Count; _nextBase++)
        {
            if (budget <= 0)
            {
                return true;
            }

            Item item = _base[_nextBase];
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

    /// <summary>To be called by the owner of the store, whether or not all was given.</summary>
    public void End()
    {
        Check.That(!_ended);
        _ended = true;
        _store.Unpin();
    }

    private int Give(RevisionSink sink, long main, RecordAddress address)
    {
        KeyValueRecord record = _store.Read(address);
        sink(new RevisionKey(main, RecordPages.SubOf(address), address.IsTombstone), record);
        return record.Bytes.Length + EntryCost;
    }

    private readonly record struct Item(long Main, uint Sub, RecordAddress Address);
}

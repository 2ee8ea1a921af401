using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// Frees what a compaction made unreachable, in steps, by walking the changes up to it: a revision can only have been superseded
/// by a change in the log, so the work is in proportion to the changes, not to the keys. Then empties pages that are mostly dead, and, while too
/// much is dead in all, others.
/// A tombstone at exactly the compacted revision stays, for the watchers who may still start there.
/// </summary>
internal sealed unsafe class Compactor(RecordPages pages, KeyIndex index, RevisionLog log)
{
    private const int SparseLookups = 64;

    private int _pins;
    private long _next;
    private bool _pruning;
    private long _target;
    private bool _walking;
    private PageWalk _walk;

    public long CompactRevision { get; private set; }

    /// <summary>Changes that compactions have left behind them are still to be looked at.</summary>
    public bool IsPruning => _pruning || CompactRevision > _target;

    /// <summary>Of changes before this revision some may be freed.</summary>
    public long FreedBelow => _target;

    /// <summary>Pages are being emptied that are mostly alive: there is time.</summary>
    public bool IsTidying { get; private set; }

    /// <summary>Records freed since the store was opened.</summary>
    public long Freed { get; private set; }

    /// <summary>While somebody reads the store bit by bit (a checkpoint), nothing is freed.</summary>
    public int Pins => Volatile.Read(ref _pins);

    /// <summary>By whoever may read the store, or the owner.</summary>
    public void Pin() => Interlocked.Increment(ref _pins);

    /// <summary>By the owner.</summary>
    public void Unpin() => Interlocked.Decrement(ref _pins);

    public void Begin(long revision)
    {
        Check.That(revision > CompactRevision);
        CompactRevision = revision;
    }

    public void Restore(long revision) => CompactRevision = _target = revision;

    /// <param name="upTo">Nothing of a later compaction is begun.</param>
    public bool Step(int budget, long upTo)
    {
        if (Pins > 0)
        {
            return false;
        }

        if (!_pruning && Math.Min(CompactRevision, upTo) > _target)
        {
            _target = Math.Min(CompactRevision, upTo);
            _next = log.Start;
            _pruning = true;
        }

        if (_pruning)
        {
            IsTidying = false;
            Prune(budget);
            return true;
        }

        return log.GiveBack() || Evacuate(budget);
    }

    private void Prune(int budget)
    {
        for (; budget > 0 && _next < log.End && log[_next].Main <= _target; budget--, _next++)
        {
            LogItem item = log[_next];

            // Its own record is alive: only what is older than the change at hand, or a tombstone at hand, is released below.
            bool found = index.TryFind(KeyValueRecord.KeyOf(RecordPages.Read(item.Address)), out KeyCursor cursor);
            Check.That(found);
            KeyEntry* entry = index.At(cursor);
            bool buried = item.Address.IsTombstone && item.Main < _target;
            int dead = (buried ? KeyEntry.IndexOf(entry, item) : KeyEntry.IndexAt(entry, item.Main - 1)) + 1;
            for (int i = 0; i < dead; i++)
            {
                pages.Release(entry->Items[i].Address);
            }

            Freed += dead;
            if (dead == entry->Count)
            {
                index.RemoveAt(cursor);
            }
            else if (dead > 0)
            {
                index.DropOldest(entry, dead);
            }
        }

        if (_next == log.End || log[_next].Main > _target)
        {
            log.TrimTo(log.LowerBound(_target));
            _pruning = false;
        }
    }

    private bool Evacuate(int budget)
    {
        if (!_walking)
        {
            _walking = pages.FindSparse(SparseLookups, out _walk, out bool isSparse);
            IsTidying = _walking && !isSparse;
            if (!_walking)
            {
                return false;
            }
        }

        for (; budget > 0; budget--)
        {
            if (!pages.Walk(ref _walk, out RecordAddress address))
            {
                _walking = false;
                return true;
            }

            Move(address);
        }

        return true;
    }

    private void Move(RecordAddress from)
    {
        ReadOnlySpan<byte> bytes = RecordPages.Read(from);
        KeyValueRecord record = KeyValueRecord.Parse(bytes);
        KeyEntry* entry = index.Find(record.Key);
        Check.That(entry != null);
        int at = KeyEntry.IndexOf(entry, new LogItem { Main = record.ModRevision, Address = from });
        RecordAddress old = entry->Items[at].Address;
        RecordAddress moved = pages.Append(bytes.Length, RecordPages.SubOf(old), old.IsTombstone, out Span<byte> into);
        bytes.CopyTo(into);
        entry->Items[at].Address = moved;
        for (long position = log.LowerBound(record.ModRevision);
            position < log.End && log[position].Main == record.ModRevision;
            position++)
        {
            if (log[position].Address == old)
            {
                log[position].Address = moved;
            }
        }

        pages.Release(old);
    }
}

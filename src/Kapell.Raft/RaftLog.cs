using Kapell.Base;

namespace Kapell.Raft;

/// <summary>
/// The log after the last checkpoint, in memory. Invariants:
/// Snapshot.Index &lt;= Applied &lt;= Applying &lt;= Committed &lt;= LastIndex, Durable &lt;= HandedOut &lt;= LastIndex.
/// Entries up to Committed are never replaced.
/// </summary>
internal sealed class RaftLog
{
    // So many applied entries are never packed: one at least, so that the last entry is among the others.
    private readonly int _looseMin;

    // The first ones, all of them applied, from First on, where First = Snapshot.Index + 1.
    private readonly PackedEntries _packed;

    // The others: the one at place i has index First + the number of the packed + i.
    private readonly List<Entry> _entries = [];

    public RaftLog(LogPosition snapshot, IReadOnlyList<Entry> entries, int looseMin)
    {
        _looseMin = looseMin;
        Snapshot = snapshot;
        _packed = new PackedEntries(First);
        Committed = Applied = Applying = Durable = HandedOut = snapshot.Index;
        foreach (Entry entry in entries)
        {
            Check.That(entry.Index == Last.Index.Next());
            Check.That(entry.Term >= Last.Term);
            _entries.Add(entry);
        }

        Durable = HandedOut = Last.Index;
    }

    /// <summary>What lies before the first entry here: the point of the last compaction.</summary>
    public LogPosition Snapshot { get; private set; }

    /// <summary>Entries held here that are applied.</summary>
    public int AppliedCount => Applied > Snapshot.Index ? (int)(Applied - Snapshot.Index) : 0;

    /// <summary>Bytes of their data.</summary>
    public long AppliedBytes { get; private set; }

    public LogIndex First => Snapshot.Index.Next();

    public LogPosition Last => _entries.Count > 0 ? _entries[^1].Position : Snapshot;

    public LogIndex Committed { get; private set; }

    /// <summary>Given to the host to apply.</summary>
    public LogIndex Applying { get; private set; }

    /// <summary>Reported as applied.</summary>
    public LogIndex Applied { get; private set; }

    /// <summary>Given to the host to write.</summary>
    public LogIndex HandedOut { get; private set; }

    /// <summary>Reported as written and flushed.</summary>
    public LogIndex Durable { get; private set; }

    public bool HasUnwritten => HandedOut < Last.Index;

    /// <summary>What may be given to the host to apply: committed, and durable here (a restart must find it).</summary>
    public LogIndex Appliable => LogIndex.Min(Committed, Durable);

    /// <summary>Null when the index lies outside of what is held here.</summary>
    public Term? TermAt(LogIndex index)
    {
        if (index == Snapshot.Index)
        {
            return Snapshot.Term;
        }

        return index < First || index > Last.Index ? null : index < LooseFirst ? _packed.TermOf(index) : this[index].Term;
    }

    public Entry this[LogIndex index] => index < LooseFirst ? _packed[index] : _entries[(int)(index - LooseFirst)];

    private LogIndex LooseFirst => First + (ulong)_packed.Count;

    private int LengthOf(LogIndex index) => index < LooseFirst ? _packed.LengthOf(index) : this[index].Data.Length;

    public bool Matches(LogPosition position) => TermAt(position.Index) == position.Term;

    /// <summary>Entries in [from, to], as many as the limits allow but one at least.</summary>
    public IReadOnlyList<Entry> Slice(LogIndex from, LogIndex to, int countMax, long bytesMax)
    {
        if (from > to)
        {
            return [];
        }

        Check.That(from >= First);
        Check.That(to <= Last.Index);
        int available = (int)Math.Min(to - from + 1, (ulong)countMax);
        int count = 0;
        long bytes = 0;
        while (count < available)
        {
            bytes += LengthOf(from + (ulong)count);
            if (count > 0 && bytes > bytesMax)
            {
                break;
            }

            count++;
        }

        if (from >= LooseFirst)
        {
            return _entries.GetRange((int)(from - LooseFirst), count);
        }

        Entry[] slice = new Entry[count];
        for (int i = 0; i < count; i++)
        {
            slice[i] = this[from + (ulong)i];
        }

        return slice;
    }

    /// <summary>Puts entries behind what precedes them; what stood there gives way (Raft §5.3).</summary>
    public void Append(IReadOnlyList<Entry> entries)
    {
        if (entries.Count == 0)
        {
            return;
        }

        LogIndex first = entries[0].Index;
        Check.That(first > Committed);
        Check.That(first <= Last.Index.Next());
        _entries.RemoveRange((int)(first - LooseFirst), _entries.Count - (int)(first - LooseFirst));
        HandedOut = LogIndex.Min(HandedOut, first.Previous());
        Durable = LogIndex.Min(Durable, first.Previous());
        for (int i = 0; i < entries.Count; i++)
        {
            _entries.Add(entries[i]);
        }
    }

    /// <summary>The first of the entries that is not in the log already, or null when all are.</summary>
    public int? FindConflict(IReadOnlyList<Entry> entries)
    {
        for (int i = 0; i < entries.Count; i++)
        {
            if (!Matches(entries[i].Position))
            {
                return i;
            }
        }

        return null;
    }

    /// <summary>
    /// The highest position at or before <paramref name="index"/> with a term not above <paramref name="term"/>: no later one can agree
    /// with a log that has <paramref name="term"/> at <paramref name="index"/>. Term zero when it is out of what is held here.
    /// </summary>
    public LogPosition FindConflictByTerm(LogIndex index, Term term)
    {
        while (index > LogIndex.Zero)
        {
            if (TermAt(index) is not { } ours)
            {
                return new LogPosition(Term.Zero, index);
            }

            if (ours <= term)
            {
                return new LogPosition(ours, index);
            }

            index = index.Previous();
        }

        return default;
    }

    public bool CommitTo(LogIndex index)
    {
        if (index <= Committed)
        {
            return false;
        }

        if (index > Last.Index)
        {
            Check.Unreachable($"entry {index} is committed but the log here ends at {Last.Index}: it has lost acknowledged entries");
        }

        Committed = index;
        return true;
    }

    public void AcceptUnwritten() => HandedOut = Last.Index;

    public void AcceptApplying(LogIndex index)
    {
        Check.That(index <= Appliable);
        Applying = index;
    }

    public void DurableTo(LogIndex index)
    {
        Check.That(index <= HandedOut);
        Durable = LogIndex.Max(Durable, index);
    }

    public void AppliedTo(LogIndex index)
    {
        Check.That(index <= Applying);
        Check.That(index >= Applied);

        // What was applied before these and is not compacted by now will stay for a while.
        PackApplied();

        // A checkpoint that came meanwhile has taken the place of those before it.
        for (LogIndex i = LogIndex.Max(Applied, Snapshot.Index).Next(); i <= index; i = i.Next())
        {
            AppliedBytes += LengthOf(i);
        }

        Applied = index;
    }

    /// <summary>The last index that may go when so many applied entries, or so many bytes of them, are to stay at most; zero when none may.</summary>
    public LogIndex LastBeyond(int entries, long bytes)
    {
        LogIndex index = Applied;
        for (; index > Snapshot.Index; index = index.Previous())
        {
            bytes -= LengthOf(index);
            if (--entries < 0 || bytes < 0)
            {
                return index;
            }
        }

        return LogIndex.Zero;
    }

    /// <summary>Forgets entries up to and including the index: they were applied here, and lie in the host's log on disk.</summary>
    public void Compact(LogIndex index)
    {
        Check.That(index <= Applied);
        if (index <= Snapshot.Index)
        {
            return;
        }

        LogPosition position = new(TermAt(index)!.Value, index);
        for (LogIndex i = First; i <= index; i = i.Next())
        {
            AppliedBytes -= LengthOf(i);
        }

        int count = (int)(index - Snapshot.Index);
        int packed = Math.Min(count, _packed.Count);
        _packed.RemoveFirst(packed);
        if (count > packed)
        {
            _entries.RemoveRange(0, count - packed);
            _packed.Restart(index.Next());
        }

        Snapshot = position;
    }

    private void PackApplied()
    {
        int loose = Applied < LooseFirst ? 0 : (int)(Applied - LooseFirst) + 1;
        if (loose <= 2 * _looseMin)
        {
            return;
        }

        int count = loose - _looseMin;
        for (int i = 0; i < count; i++)
        {
            _packed.Add(_entries[i]);
        }

        _entries.RemoveRange(0, count);
    }

    /// <summary>The log is replaced by a checkpoint of the leader.</summary>
    public void RestoreTo(LogPosition snapshot)
    {
        Check.That(snapshot.Index > Committed);
        _entries.Clear();
        _packed.Restart(snapshot.Index.Next());
        AppliedBytes = 0;
        Snapshot = snapshot;
        Committed = HandedOut = snapshot.Index;
        // Not yet on our disk; Applied and Applying follow when it is.
        Durable = LogIndex.Min(Durable, Applied);
    }

    public void SnapshotPersisted(LogIndex index)
    {
        Check.That(index >= Applying);
        Applied = Applying = index;
        Durable = LogIndex.Max(Durable, index);
    }
}

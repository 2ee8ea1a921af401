using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>One change in the order of revisions; changes of one transaction share <see cref="Main"/>.</summary>
internal struct LogItem
{
    public long Main;
    public RecordAddress Address;
}

/// <summary>
/// The changes in order, found by position: what watchers read. Positions count from the start of the process and are never
/// reused, so a cursor that fell behind a compaction is noticed.
/// </summary>
internal sealed class RevisionLog
{
    private const int ChunkBits = 12;
    private const int ChunkItems = 1 << ChunkBits;

    private readonly List<LogItem[]> _chunks = [];
    private long _firstChunk;

    public long Start { get; private set; }

    public long End { get; private set; }

    public ref LogItem this[long position]
    {
        get
        {
            Check.That(position >= Start && position < End);
            return ref _chunks[(int)((position >> ChunkBits) - _firstChunk)][position & (ChunkItems - 1)];
        }
    }

    public void Add(long main, RecordAddress address)
    {
        if ((End >> ChunkBits) - _firstChunk == _chunks.Count)
        {
            _chunks.Add(new LogItem[ChunkItems]);
        }

        End++;
        this[End - 1] = new LogItem { Main = main, Address = address };
    }

    /// <summary>The position of the first change at or after the revision.</summary>
    public long LowerBound(long main)
    {
        long low = Start;
        long high = End;
        while (low < high)
        {
            long middle = low + ((high - low) >> 1);
            if (this[middle].Main < main)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }

    public void TrimTo(long position)
    {
        Check.That(position >= Start && position <= End);
        Start = position;
        long keepFrom = position >> ChunkBits;
        int drop = (int)Math.Min(keepFrom - _firstChunk, _chunks.Count);
        if (drop > 0)
        {
            _chunks.RemoveRange(0, drop);
            _firstChunk += drop;
        }
    }
}

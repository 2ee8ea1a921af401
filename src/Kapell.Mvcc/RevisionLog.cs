using System.Runtime.InteropServices;
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
/// reused, so a cursor that fell behind a compaction is noticed. Outside the collected heap, which would give back what a compaction
/// leaves of it, 16 bytes a change, in one pause.
/// </summary>
internal sealed unsafe class RevisionLog : IDisposable
{
    private const int ChunkBits = 12;
    private const int ChunkItems = 1 << ChunkBits;
    private static readonly nuint ChunkBytes = (nuint)(ChunkItems * sizeof(LogItem));

    private readonly List<nint> _chunks = [];
    private readonly Stack<nint> _dropped = [];
    private long _firstChunk;

    public long Start { get; private set; }

    public long End { get; private set; }

    /// <summary>Good until the log is trimmed.</summary>
    public ref LogItem this[long position]
    {
        get
        {
            Check.That(position >= Start && position < End);
            return ref ((LogItem*)_chunks[(int)((position >> ChunkBits) - _firstChunk)])[position & (ChunkItems - 1)];
        }
    }

    public void Add(long main, RecordAddress address)
    {
        if ((End >> ChunkBits) - _firstChunk == _chunks.Count)
        {
            _chunks.Add(_dropped.TryPop(out nint chunk) ? chunk : (nint)NativeMemory.Alloc(ChunkBytes));
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

    /// <summary>What lies before the position is no part of it any more; <see cref="GiveBack"/> frees the memory.</summary>
    public void TrimTo(long position)
    {
        Check.That(position >= Start && position <= End);
        Start = position;
        long keepFrom = position >> ChunkBits;
        int drop = (int)Math.Min(keepFrom - _firstChunk, _chunks.Count);
        if (drop > 0)
        {
            for (int i = 0; i < drop; i++)
            {
                _dropped.Push(_chunks[i]);
            }

            _chunks.RemoveRange(0, drop);
            _firstChunk += drop;
        }
    }

    /// <summary>Frees 64 KiB of what was trimmed; false when there is nothing to free. Freed all at once it would take milliseconds.</summary>
    public bool GiveBack()
    {
        if (!_dropped.TryPop(out nint chunk))
        {
            return false;
        }

        NativeMemory.Free((void*)chunk);
        return true;
    }

    public void Dispose()
    {
        TrimTo(End);
        _chunks.ForEach(static c => NativeMemory.Free((void*)c));
        _chunks.Clear();
        while (GiveBack())
        {
            // The next.
        }
    }
}

using Kapell.Base;

namespace Kapell.Raft;

/// <summary>
/// Entries in a row that are kept for followers that lag: their data lies one after the other in large pieces, which are used again, and
/// what is read is a copy. Thousands of small arrays that live for seconds would grow old in the collected heap, where they are dear to move
/// and to find; these few are neither moved nor looked into.
/// </summary>
internal sealed class PackedEntries(LogIndex first)
{
    /// <summary>Larger data has a piece of its own.</summary>
    public const int PieceBytes = 256 << 10;

    private const int SparesMax = 2;
    private const int PlacesMin = 1024;

    private readonly List<byte[]> _pieces = [];
    private readonly Stack<byte[]> _spares = [];
    private long _firstPiece; // The number of the first of the pieces, counted from the beginning.
    private int _used; // Bytes of the last piece.

    // A ring: the entry at First + i has its place at (_head + i) modulo the length, which is a power of two.
    private Place[] _places = [];
    private int _head;

    /// <summary>The index of the first entry; when there is none, of the next one.</summary>
    public LogIndex First { get; private set; } = first;

    public int Count { get; private set; }

    /// <summary>It must be the next one.</summary>
    public void Add(Entry entry)
    {
        Check.That(entry.Index == First + (ulong)Count);
        int length = entry.Data.Length;
        if (_pieces.Count == 0 || length > _pieces[^1].Length - _used)
        {
            _pieces.Add(length > PieceBytes ? new byte[length] : _spares.TryPop(out byte[]? spare) ? spare : new byte[PieceBytes]);
            _used = 0;
        }

        if (Count == _places.Length)
        {
            Grow();
        }

        entry.Data.Span.CopyTo(_pieces[^1].AsSpan(_used));
        _places[(_head + Count) & (_places.Length - 1)] = new Place(entry.Term, entry.Kind, _firstPiece + _pieces.Count - 1, _used, length);
        _used += length;
        Count++;
    }

    public Term TermOf(LogIndex index) => PlaceOf(index).Term;

    /// <summary>Bytes of the data.</summary>
    public int LengthOf(LogIndex index) => PlaceOf(index).Length;

    /// <summary>A copy.</summary>
    public Entry this[LogIndex index]
    {
        get
        {
            Place place = PlaceOf(index);
            byte[] data = _pieces[(int)(place.Piece - _firstPiece)].AsSpan(place.Offset, place.Length).ToArray();
            return new Entry(index, place.Term, place.Kind, data);
        }
    }

    /// <summary>Forgets the first ones.</summary>
    public void RemoveFirst(int count)
    {
        Check.That(count >= 0 && count <= Count);
        First += (ulong)count;
        Count -= count;
        if (Count == 0)
        {
            // The last piece may be begun again too.
            Release(_pieces.Count);
            (_head, _used, _places) = (0, 0, _places.Length > PlacesMin ? [] : _places);
            return;
        }

        _head = (_head + count) & (_places.Length - 1);
        Release((int)(_places[_head].Piece - _firstPiece));
    }

    /// <summary>Forgets all; the next one will have that index.</summary>
    public void Restart(LogIndex next)
    {
        RemoveFirst(Count);
        First = next;
    }

    private Place PlaceOf(LogIndex index)
    {
        Check.That(index >= First && index < First + (ulong)Count);
        return _places[(_head + (int)(index - First)) & (_places.Length - 1)];
    }

    private void Release(int pieces)
    {
        for (int i = 0; i < pieces; i++)
        {
            if (_pieces[i].Length == PieceBytes && _spares.Count < SparesMax)
            {
                _spares.Push(_pieces[i]);
            }
        }

        _pieces.RemoveRange(0, pieces);
        _firstPiece += pieces;
    }

    private void Grow()
    {
        Place[] larger = new Place[Math.Max(PlacesMin, _places.Length * 2)];
        for (int i = 0; i < Count; i++)
        {
            larger[i] = _places[(_head + i) & (_places.Length - 1)];
        }

        (_places, _head) = (larger, 0);
    }

    private readonly record struct Place(Term Term, EntryKind Kind, long Piece, int Offset, int Length);
}

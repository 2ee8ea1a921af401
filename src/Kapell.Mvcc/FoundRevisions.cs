using System.Runtime.InteropServices;
using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>One change: its revision, and where its record lies.</summary>
internal readonly record struct FoundRevision(long Main, uint Sub, RecordAddress Address);

/// <summary>
/// Changes found in any order and then put into that of revisions. Outside the collected heap, which would give back 240 MB of ten million
/// of them in one pause. Used once: add, arrange, read, dispose.
/// </summary>
internal sealed unsafe class FoundRevisions : IDisposable
{
    // Nothing is copied while they are found, for then the store must hold still.
    private const int ChunkItems = 1 << 16;

    private readonly List<nint> _chunks = [];
    private int _inLast;
    private FoundRevision* _arranged;
    private bool _isDisposed;

    public int Count { get; private set; }

    /// <summary>They are in order, and not freed.</summary>
    public bool IsArranged => _arranged != null;

    public FoundRevision this[int index]
    {
        get
        {
            Check.That(IsArranged && (uint)index < (uint)Count);
            return _arranged[index];
        }
    }

    public void Add(FoundRevision item)
    {
        Check.That(!_isDisposed && !IsArranged);
        if (_chunks.Count == 0 || _inLast == ChunkItems)
        {
            _chunks.Add((nint)NativeMemory.Alloc(ChunkItems, (nuint)sizeof(FoundRevision)));
            _inLast = 0;
        }

        ((FoundRevision*)_chunks[^1])[_inLast++] = item;
        Count = checked(Count + 1);
    }

    /// <summary>Forgets what was added.</summary>
    public void Clear()
    {
        Check.That(!IsArranged);
        FreeChunks();
        Count = 0;
    }

    /// <summary>Puts them in the order of revisions: takes long.</summary>
    public void Arrange()
    {
        Check.That(!_isDisposed && !IsArranged);
        _arranged = (FoundRevision*)NativeMemory.Alloc((nuint)Math.Max(Count, 1), (nuint)sizeof(FoundRevision));
        Span<FoundRevision> all = new(_arranged, Count);
        for (int i = 0; i < _chunks.Count; i++)
        {
            int items = i < _chunks.Count - 1 ? ChunkItems : _inLast;
            new ReadOnlySpan<FoundRevision>((void*)_chunks[i], items).CopyTo(all[(i * ChunkItems)..]);

            // At once, so that they are never there twice.
            NativeMemory.Free((void*)_chunks[i]);
        }

        _chunks.Clear();
        all.Sort(static (a, b) => a.Main != b.Main ? a.Main.CompareTo(b.Main) : a.Sub.CompareTo(b.Sub));
    }

    public void Dispose()
    {
        _isDisposed = true;
        FreeChunks();
        NativeMemory.Free(_arranged);
        _arranged = null;
    }

    private void FreeChunks()
    {
        _chunks.ForEach(static c => NativeMemory.Free((void*)c));
        _chunks.Clear();
        _inLast = 0;
    }
}

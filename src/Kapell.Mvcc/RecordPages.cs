using System.Runtime.Intrinsics.X86;
using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// Records in append-only pages outside the collected heap. A page is given back when its last record is released; a page that
/// is mostly dead is emptied by its owner (<see cref="FindSparse"/>, <see cref="Walk"/>) in small steps.
/// A record is its length (4 bytes, the top bit set once it is dead), its place within its revision (4 bytes) and its bytes. A page
/// begins at a multiple of its size, so that the address of a record, which never begins later than that, tells its page.
/// </summary>
/// <param name="beside">Runs a short piece of work on another thread: new pages are made ready there. Null: nothing is.</param>
internal sealed unsafe class RecordPages(Func<Action, Task>? beside = null) : IDisposable
{
    private const int PageBytes = HugePages.Bytes;
    private const int HeaderBytes = 8;
    private const uint DeadBit = 0x8000_0000;
    private const int CacheLineBytes = 64;

    /// <summary>A small store would hold a huge page of which it needs little.</summary>
    private const long OrdinaryBytes = 16 * HugePages.Bytes;

    // What a thread takes in a start while the other was not given the processor for a moment; and what a store that serves takes at the
    // speed of its log while the other thread clears one.
    private const int ReadyInStart = 32;
    private const int ReadyInService = 4;

    // Of what is held, so much may be pages given back, for the next to be opened: what was touched once need not be cleared.
    private const int SpareShare = 64;

    // What dead records may hold before pages that are mostly alive are emptied too: a share of what is alive, for emptying a page that is
    // dead by a tenth copies nine bytes for each that it frees, and at least so much, for a small store has no need of it.
    private const int DeadShare = 24;
    private const long DeadBytesMin = 64 << 20;

    private readonly List<nint> _pages = [];
    private readonly Stack<int> _freeSlots = new();
    private readonly Stack<nint> _spare = new();
    private readonly PagesAhead? _ahead = beside == null ? null : new PagesAhead(beside);
    private Page* _current;
    private int _readyWanted = ReadyInService;
    private long _openBytes; // Of pages with records.
    private long _lastId;
    private int _sparseCursor;
    private long _usedBytes; // Of records alive and dead, and the pages' heads.

    /// <summary>Bytes of records that somebody can still read.</summary>
    public long LiveBytes { get; private set; }

    /// <summary>Bytes held from the system, but for the few pages that are being made ready.</summary>
    public long AllocatedBytes => _openBytes + ((long)_spare.Count * PageBytes);

    /// <summary>Until <see cref="EndStart"/> very many pages will be needed.</summary>
    public void BeginStart() => _readyWanted = ReadyInStart;

    public void EndStart()
    {
        _readyWanted = ReadyInService;
        _ahead?.Keep(ReadyInService);
    }

    public static ReadOnlySpan<byte> Read(RecordAddress address)
    {
        byte* record = address.Record;
        uint length = *(uint*)record;
        Check.That(length < DeadBit);
        return new ReadOnlySpan<byte>(record + HeaderBytes, (int)length);
    }

    /// <summary>Tells the processor that the record will be read soon; many at once wait for memory together, not one after another.</summary>
    public static void Prefetch(RecordAddress address)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(address.Record);
            Sse.Prefetch0(address.Record + CacheLineBytes);
        }
    }

    public static uint SubOf(RecordAddress address) => *(uint*)(address.Record + 4);

    /// <summary>The next live record of the page, or false at its end; the page may have been given back since the walk began.</summary>
    public bool Walk(ref PageWalk walk, out RecordAddress address)
    {
        Page* page = (Page*)_pages[walk.Slot];
        while (page != null && page->Id == walk.PageId && walk.Offset < page->Used)
        {
            byte* record = (byte*)page + walk.Offset;
            uint header = *(uint*)record;
            walk.Offset += SizeOf((int)(header & ~DeadBit));
            if (header < DeadBit)
            {
                address = new RecordAddress(record, tombstone: false);
                return true;
            }
        }

        address = default;
        return false;
    }

    /// <param name="sub">Its place among the changes of one revision: the second half of etcd's revisions.</param>
    public RecordAddress Append(int length, uint sub, bool tombstone, out Span<byte> into)
    {
        Check.That(length > 0);
        int needed = SizeOf(length);
        if (_current == null || _current->Capacity - _current->Used < needed)
        {
            OpenPage(needed);
        }

        byte* record = (byte*)_current + _current->Used;
        _current->Used += needed;
        _usedBytes += needed;
        _current->LiveBytes += needed;
        LiveBytes += needed;
        *(int*)record = length;
        *(uint*)(record + 4) = sub;
        into = new Span<byte>(record + HeaderBytes, length);
        return new RecordAddress(record, tombstone);
    }

    public void Release(RecordAddress address)
    {
        Page* page = PageOf(address);
        uint* header = (uint*)address.Record;
        Check.That(*header < DeadBit);
        int bytes = SizeOf((int)*header);
        *header |= DeadBit;
        page->LiveBytes -= bytes;
        LiveBytes -= bytes;
        if (page->LiveBytes == 0 && page != _current)
        {
            ClosePage(page);
        }
    }

    /// <summary>
    /// A walk of a sealed page of which less than half is alive or, while too much is dead in all, one that is no more alive than they are on
    /// average; looks at no more than <paramref name="budget"/> pages.
    /// </summary>
    public bool FindSparse(int budget, out PageWalk walk, out bool isSparse)
    {
        long dead = _usedBytes - LiveBytes;
        double average = dead > Math.Max(DeadBytesMin, LiveBytes / DeadShare) ? (double)LiveBytes / _usedBytes : 0;
        for (int i = 0; i < budget && _pages.Count > 0; i++)
        {
            _sparseCursor = (_sparseCursor + 1) % _pages.Count;
            Page* page = (Page*)_pages[_sparseCursor];
            if (page == null || page == _current)
            {
                continue;
            }

            isSparse = page->LiveBytes < page->Used / 2;
            if (isSparse || page->LiveBytes <= page->Used * average)
            {
                walk = new PageWalk { Slot = _sparseCursor, PageId = page->Id, Offset = sizeof(Page) };
                return true;
            }
        }

        (walk, isSparse) = (default, false);
        return false;
    }

    public void Dispose()
    {
        _ahead?.Keep(0);
        for (int i = 0; i < _pages.Count; i++)
        {
            if (_pages[i] != 0)
            {
                ClosePage((Page*)_pages[i]);
            }
        }

        FreeSpare(0);
        _pages.Clear();
        _freeSlots.Clear();
        _current = null;
    }

    private static Page* PageOf(RecordAddress address) => (Page*)((nuint)address.Record & ~(nuint)(PageBytes - 1));

    /// <summary>Whole words, so that the numbers before each record are read in one piece.</summary>
    private static int SizeOf(int length) => (length + HeaderBytes + 3) & ~3;

    private void OpenPage(int needed)
    {
        Page* before = _current;
        int capacity = Math.Max(PageBytes, needed + sizeof(Page));
        Page* page = (Page*)Take(capacity);
        *page = new Page { Id = ++_lastId, Capacity = capacity, Used = sizeof(Page) };
        _openBytes += capacity;
        _usedBytes += page->Used;
        if (_freeSlots.TryPop(out int slot))
        {
            _pages[slot] = (nint)page;
        }
        else
        {
            slot = _pages.Count;
            _pages.Add((nint)page);
        }

        page->Slot = slot;
        _current = page;
        if (before != null && before->LiveBytes == 0)
        {
            ClosePage(before);
        }
    }

    private void* Take(int capacity)
    {
        bool huge = _openBytes >= OrdinaryBytes;
        void* page = null;
        if (capacity == PageBytes)
        {
            page = _spare.TryPop(out nint spare) ? (void*)spare : huge && _ahead != null ? _ahead.TryTake(_readyWanted) : null;
        }

        return page != null ? page : HugePages.Allocate((nuint)capacity, huge);
    }

    private void ClosePage(Page* page)
    {
        _openBytes -= page->Capacity;
        LiveBytes -= page->LiveBytes;
        _usedBytes -= page->Used;
        _freeSlots.Push(page->Slot);
        _pages[page->Slot] = 0;
        if (page->Capacity == PageBytes)
        {
            _spare.Push((nint)page);
        }
        else
        {
            HugePages.Free(page);
        }

        FreeSpare(_openBytes / SpareShare / PageBytes);
    }

    private void FreeSpare(long keep)
    {
        while (_spare.Count > keep)
        {
            HugePages.Free((void*)_spare.Pop());
        }
    }

    /// <summary>What a page begins with.</summary>
    private struct Page
    {
        public long Id;
        public int Slot;
        public int Capacity;
        public int Used;
        public int LiveBytes;
    }
}

/// <summary>How far the records of one page were looked at. The page is named by its number, for its place may hold another by now.</summary>
internal struct PageWalk
{
    public int Slot;
    public long PageId;
    public int Offset;
}

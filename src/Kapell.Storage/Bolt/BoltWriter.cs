using Kapell.Base;

namespace Kapell.Storage.Bolt;

/// <summary>
/// Writes a bbolt database from beginning to end: buckets one after another, the keys of each in rising order. It holds one page a
/// level of the tree. The file is valid once <see cref="Finish"/> has returned; the caller flushes it.
/// </summary>
public sealed class BoltWriter
{
    /// <summary>The page size of the machines that etcd runs on; any reader takes the one in the file.</summary>
    public const int PageBytes = 4096;

    private const ulong FirstPage = 2; // After the two metas.
    private readonly IDiskFile _file;
    private readonly List<BoltPageBuilder> _levels = [];
    private readonly SortedList<byte[], ulong> _buckets = new(Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b)));
    private ulong _nextPage = FirstPage;
    private byte[]? _bucket;
    private byte[]? _lastKey;
    private bool _finished;

    /// <param name="file">Empty.</param>
    public BoltWriter(IDiskFile file) => _file = file;

    /// <summary>Bytes of the file once it is finished.</summary>
    public long Bytes => (long)_nextPage * PageBytes;

    public void BeginBucket(ReadOnlySpan<byte> name)
    {
        Check.That(!_finished && _bucket is null);
        Check.That(name.Length is > 0 and <= BoltFormat.KeyBytesMax);
        _bucket = name.ToArray();
        _lastKey = null;
        _levels.Clear();
        _levels.Add(new BoltPageBuilder(BoltFormat.LeafPage));
    }

    /// <summary>Keys rise, are not empty and at most 32 KiB.</summary>
    public void Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        Check.That(_bucket is not null);
        Check.That(key.Length is > 0 and <= BoltFormat.KeyBytesMax);
        Check.That(_lastKey is null || key.SequenceCompareTo(_lastKey) > 0);
        _lastKey = key.ToArray();
        AddTo(0, key, value, 0, 0);
    }

    public void EndBucket()
    {
        Check.That(_bucket is not null);
        _buckets.Add(_bucket!, WriteTree());
        _bucket = null;
    }

    /// <summary>Writes the names of the buckets, the (empty) list of free pages and the metas.</summary>
    public void Finish()
    {
        Check.That(!_finished && _bucket is null);
        _finished = true;
        _levels.Clear();
        _levels.Add(new BoltPageBuilder(BoltFormat.LeafPage));
        byte[] head = new byte[BoltFormat.BucketHeadBytes];
        foreach ((byte[] name, ulong root) in _buckets)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(head, root);
            AddTo(0, name, head, BoltFormat.BucketElement, 0);
        }

        ulong rootPage = WriteTree();
        ulong freelist = _nextPage++;
        byte[] page = new byte[PageBytes];
        BoltFormat.WritePageHead(page, freelist, BoltFormat.FreelistPage, 0, 0);
        _file.Write((long)freelist * PageBytes, page);
        foreach (ulong transaction in (ulong[])[1, 2])
        {
            page.AsSpan().Clear();
            BoltFormat.WriteMetaPage(page, new BoltMeta(PageBytes, rootPage, freelist, _nextPage, transaction));
            _file.Write((long)(transaction % 2) * PageBytes, page);
        }
    }

    private void AddTo(int level, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, uint flags, ulong child)
    {
        if (level == _levels.Count)
        {
            _levels.Add(new BoltPageBuilder(BoltFormat.BranchPage));
        }

        if (!_levels[level].HasRoomFor(key.Length + value.Length, PageBytes))
        {
            WritePage(level);
        }

        _levels[level].Add(key, value, flags, child);
    }

    /// <summary>Writes what each level still holds; the page that is the top.</summary>
    private ulong WriteTree()
    {
        for (int level = 0; ; level++)
        {
            BoltPageBuilder pages = _levels[level];
            if (pages.Written == 0)
            {
                // All of the level fits into one page, which needs nothing above it.
                ulong top = _nextPage;
                WriteOut(pages);
                return top;
            }

            WritePage(level);
        }
    }

    /// <summary>Writes the page of a level and tells the level above.</summary>
    private void WritePage(int level)
    {
        byte[] firstKey = _levels[level].FirstKey.ToArray();
        ulong page = _nextPage;
        WriteOut(_levels[level]);
        AddTo(level + 1, firstKey, default, 0, page);
    }

    private void WriteOut(BoltPageBuilder builder)
    {
        ReadOnlySpan<byte> bytes = builder.Finish(_nextPage, PageBytes);
        _file.Write((long)_nextPage * PageBytes, bytes);
        _nextPage += (ulong)(bytes.Length / PageBytes);
    }
}

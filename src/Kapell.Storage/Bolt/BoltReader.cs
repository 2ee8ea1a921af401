using System.Buffers.Binary;

namespace Kapell.Storage.Bolt;

/// <summary>Takes one pair of a bucket; the spans are valid during the call only.</summary>
public delegate void BoltVisitor(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value);

/// <summary>
/// Reads a bbolt database, trusting nothing in it: every position is checked before use, keys must rise, and no page is visited twice
/// in one walk. Holds the pages on the path from the top to where it reads.
/// </summary>
public sealed class BoltReader
{
    private const int DepthMax = 64;
    private readonly IDiskFile _file;
    private readonly string _path;
    private readonly BoltMeta _meta;
    private readonly SortedList<string, BucketPlace> _buckets = new(StringComparer.Ordinal);

    /// <param name="length">Of the database in the file: something else may follow it.</param>
    /// <exception cref="CorruptDatabaseException">It is no such database, or damaged.</exception>
    public BoltReader(IDiskFile file, string path, long length)
    {
        (_file, _path) = (file, path);
        _meta = FindMeta(length) ?? throw new CorruptDatabaseException(path, 0, "neither of the two first pages is a valid head of a bbolt database");
        if (_meta.PageCount > (ulong)(length / _meta.PageBytes))
        {
            throw new CorruptDatabaseException(
                path, 0, $"the head says {_meta.PageCount} pages of {_meta.PageBytes} bytes, but there are {length} bytes: the file is cut off");
        }

        new Walk(this, AddBucket).Page(_meta.Root);
    }

    /// <summary>The names of the buckets at the top, in order; nested ones are not read.</summary>
    public IReadOnlyList<string> Buckets => [.. _buckets.Keys];

    /// <summary>Bytes of the database by its head.</summary>
    public long Bytes => (long)_meta.PageCount * _meta.PageBytes;

    /// <summary>Visits every pair in the order of keys; false when there is no such bucket.</summary>
    /// <exception cref="CorruptDatabaseException">From anywhere in the bucket; what was visited before stays visited.</exception>
    public bool Visit(string bucket, BoltVisitor visitor)
    {
        if (!_buckets.TryGetValue(bucket, out BucketPlace? place))
        {
            return false;
        }

        Walk walk = new(this, (flags, key, value) =>
        {
            if ((flags & BoltFormat.BucketElement) == 0)
            {
                visitor(key, value);
            }
        });
        if (place.Inline is { } inline)
        {
            walk.InlinePage(inline);
        }
        else
        {
            walk.Page(place.Root);
        }

        return true;
    }

    private void AddBucket(uint flags, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
    {
        // Latin-1 keeps every byte apart from every other.
        string name = System.Text.Encoding.Latin1.GetString(key);
        if ((flags & BoltFormat.BucketElement) == 0 || value.Length < BoltFormat.BucketHeadBytes)
        {
            throw new CorruptDatabaseException(_path, 0, $"\"{name}\" at the top is no bucket");
        }

        ulong root = BinaryPrimitives.ReadUInt64LittleEndian(value);
        _buckets.Add(name, new BucketPlace(root, root == 0 ? value[BoltFormat.BucketHeadBytes..].ToArray() : null));
    }

    private BoltMeta? FindMeta(long length)
    {
        byte[] page = new byte[BoltFormat.PageHeadBytes + BoltFormat.MetaBytes];
        BoltMeta? MetaAt(long offset) => offset < length && _file.Read(offset, page) == page.Length ? BoltFormat.ReadMeta(page) : null;
        BoltMeta? first = MetaAt(0);
        BoltMeta? second = first is null ? null : MetaAt(first.PageBytes);

        // The size of the pages stands in the first meta; without it, all sizes are tried. bbolt: db.go getPageSize
        for (int size = BoltFormat.PageBytesMin; first is null && second is null && size <= BoltFormat.PageBytesMax; size *= 2)
        {
            second = MetaAt(size) is { } found && found.PageBytes == size ? found : null;
        }

        return second is null || (first is not null && first.Transaction > second.Transaction) ? first : second;
    }

    private sealed record BucketPlace(ulong Root, byte[]? Inline);

    private delegate void ElementVisitor(uint flags, ReadOnlySpan<byte> key, ReadOnlySpan<byte> value);

    /// <summary>One pass through a tree in order.</summary>
    private sealed class Walk(BoltReader reader, ElementVisitor visitor)
    {
        private ulong _pagesLeft = reader._meta.PageCount;
        private byte[] _lastKey = [];
        private int _lastKeyBytes = -1;
        private int _depth;

        public void Page(ulong id)
        {
            if (++_depth > DepthMax)
            {
                throw Corrupt(id, $"the tree is deeper than {DepthMax}");
            }

            byte[] page = Load(id);
            Elements(page, id);
            _depth--;
        }

        /// <summary>A small bucket whose only page lies in the value that stands for it.</summary>
        public void InlinePage(byte[] value)
        {
            if (value.Length < BoltFormat.PageHeadBytes || BinaryPrimitives.ReadUInt16LittleEndian(value.AsSpan(8)) != BoltFormat.LeafPage)
            {
                throw Corrupt(0, "an inline bucket is no leaf");
            }

            Elements(value, 0);
        }

        private byte[] Load(ulong id)
        {
            int pageBytes = reader._meta.PageBytes;
            if (id < 2 || id >= reader._meta.PageCount)
            {
                throw Corrupt(id, $"page {id} is not one of the {reader._meta.PageCount}");
            }

            byte[] head = new byte[BoltFormat.PageHeadBytes];
            long offset = (long)id * pageBytes;
            ulong overflow = reader._file.Read(offset, head) == head.Length ? BinaryPrimitives.ReadUInt32LittleEndian(head.AsSpan(12)) : ulong.MaxValue;
            if (BinaryPrimitives.ReadUInt64LittleEndian(head) != id)
            {
                throw Corrupt(id, "the page says it is another");
            }

            if (overflow >= reader._meta.PageCount - id || (overflow + 1) * (ulong)pageBytes > (ulong)Array.MaxLength)
            {
                throw Corrupt(id, $"it goes on for {overflow} pages, beyond the end");
            }

            if (overflow + 1 > _pagesLeft)
            {
                throw Corrupt(id, "a page is used twice");
            }

            _pagesLeft -= overflow + 1;
            byte[] page = new byte[(int)(overflow + 1) * pageBytes];
            return reader._file.Read(offset, page) == page.Length ? page : throw Corrupt(id, "the file ends in it");
        }

        private void Elements(byte[] page, ulong id)
        {
            ushort flags = BinaryPrimitives.ReadUInt16LittleEndian(page.AsSpan(8));
            int count = BinaryPrimitives.ReadUInt16LittleEndian(page.AsSpan(10));
            if (flags is not (BoltFormat.BranchPage or BoltFormat.LeafPage))
            {
                throw Corrupt(id, $"a page of kind {flags:x} stands in the tree");
            }

            if (BoltFormat.PageHeadBytes + ((long)count * BoltFormat.ElementBytes) > page.Length)
            {
                throw Corrupt(id, $"{count} elements do not fit into it");
            }

            if (flags == BoltFormat.BranchPage && count == 0)
            {
                throw Corrupt(id, "a branch has no children");
            }

            for (int i = 0; i < count; i++)
            {
                int at = BoltFormat.PageHeadBytes + (i * BoltFormat.ElementBytes);
                Element(page, id, flags, at);
            }
        }

        private void Element(byte[] page, ulong id, ushort pageFlags, int at)
        {
            ReadOnlySpan<byte> element = page.AsSpan(at, BoltFormat.ElementBytes);
            if (pageFlags == BoltFormat.BranchPage)
            {
                // The key only says what the child begins with; whether keys rise is seen in the leaves.
                Data(page, id, at, BinaryPrimitives.ReadUInt32LittleEndian(element), BinaryPrimitives.ReadUInt32LittleEndian(element[4..]));
                Page(BinaryPrimitives.ReadUInt64LittleEndian(element[8..]));
                return;
            }

            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(element);
            uint position = BinaryPrimitives.ReadUInt32LittleEndian(element[4..]);
            uint keyBytes = BinaryPrimitives.ReadUInt32LittleEndian(element[8..]);
            uint valueBytes = BinaryPrimitives.ReadUInt32LittleEndian(element[12..]);
            ReadOnlySpan<byte> both = Data(page, id, at, position, (ulong)keyBytes + valueBytes);
            ReadOnlySpan<byte> key = both[..(int)keyBytes];
            if (_lastKeyBytes >= 0 && key.SequenceCompareTo(_lastKey.AsSpan(0, _lastKeyBytes)) <= 0)
            {
                throw Corrupt(id, "its keys do not rise");
            }

            Remember(key);
            visitor(flags, key, both[(int)keyBytes..]);
        }

        private ReadOnlySpan<byte> Data(byte[] page, ulong id, int at, uint position, ulong length)
        {
            ulong start = (ulong)at + position;
            return start + length <= (ulong)page.Length
                ? page.AsSpan((int)start, (int)length)
                : throw Corrupt(id, "an element lies beyond its end");
        }

        private void Remember(ReadOnlySpan<byte> key)
        {
            if (_lastKey.Length < key.Length)
            {
                _lastKey = new byte[Math.Max(key.Length, 64)];
            }

            key.CopyTo(_lastKey);
            _lastKeyBytes = key.Length;
        }

        private CorruptDatabaseException Corrupt(ulong id, string reason) =>
            new(reader._path, unchecked((long)id * reader._meta.PageBytes), $"page {id}: {reason}");
    }
}

namespace Kapell.Etcd.Server.Http2;

/// <summary>A header block that breaks RFC 7541: the connection cannot go on, for both sides' tables differ from here.</summary>
internal sealed class HpackException(string message) : Exception(message);

/// <summary>Decodes the header blocks of one connection, in order (RFC 7541).</summary>
internal sealed class HpackDecoder
{
    private static readonly HpackHeader[] Static = MakeStatic();
    private readonly Queue<HpackHeader> _evictable = new();
    private HpackHeader[] _ring = new HpackHeader[64];
    private int _newest = -1;
    private int _count;
    private int _bytes;
    private readonly int _tableBytesMax;
    private readonly int _headerBytesMax;
    private int _limit;

    /// <param name="tableBytesMax">What we allowed the other side to keep (SETTINGS_HEADER_TABLE_SIZE).</param>
    /// <param name="headerBytesMax">Of one block, decoded; more is refused.</param>
    public HpackDecoder(int tableBytesMax, int headerBytesMax) =>
        (_tableBytesMax, _headerBytesMax, _limit) = (tableBytesMax, headerBytesMax, tableBytesMax);

    /// <summary>Goes up whenever the table, or what it may hold, may have changed: the same block may say something else then.</summary>
    public long TableChanges { get; private set; }

    /// <exception cref="HpackException">The block is malformed or too large.</exception>
    public void Decode(ReadOnlySpan<byte> block, List<HpackHeader> into)
    {
        int at = 0;
        int total = 0;
        bool fieldSeen = false;
        while (at < block.Length)
        {
            byte first = block[at];
            if (first >= 0x80)
            {
                HpackHeader known = Entry(Integer(block, ref at, 7));
                Add(into, known, ref total);
            }
            else if (first >= 0x40)
            {
                HpackHeader field = Literal(block, ref at, 6);
                Add(into, field, ref total);
                Remember(field);
            }
            else if (first >= 0x20)
            {
                if (fieldSeen)
                {
                    throw new HpackException("a change of the table's size after a field");
                }

                int limit = Integer(block, ref at, 5);
                if (limit > _tableBytesMax)
                {
                    throw new HpackException($"a table of {limit} bytes, but {_tableBytesMax} are allowed");
                }

                _limit = limit;
                TableChanges++;
                Evict(0);
                continue;
            }
            else
            {
                // Without indexing, or never to be indexed.
                Add(into, Literal(block, ref at, 4), ref total);
            }

            fieldSeen = true;
        }
    }

    private void Add(List<HpackHeader> into, HpackHeader field, ref int total)
    {
        total += field.Size;
        if (total > _headerBytesMax)
        {
            throw new HpackException($"headers of more than {_headerBytesMax} bytes");
        }

        into.Add(field);
    }

    private HpackHeader Literal(ReadOnlySpan<byte> block, ref int at, int prefixBits)
    {
        int index = Integer(block, ref at, prefixBits);
        byte[] name = index > 0 ? Entry(index).Name : Text(block, ref at);
        return new HpackHeader(name, Text(block, ref at));
    }

    private HpackHeader Entry(int index)
    {
        if (index >= 1 && index <= Static.Length)
        {
            return Static[index - 1];
        }

        int place = index - Static.Length - 1;
        return place >= 0 && place < _count
            ? _ring[(_newest - place + _ring.Length) % _ring.Length]
            : throw new HpackException($"there is no field {index}");
    }

    private void Remember(HpackHeader field)
    {
        TableChanges++;
        Evict(field.Size);
        if (field.Size > _limit)
        {
            // Larger than the table: it only empties it (§4.4).
            return;
        }

        if (_count == _ring.Length)
        {
            Grow();
        }

        _newest = (_newest + 1) % _ring.Length;
        _ring[_newest] = field;
        _count++;
        _bytes += field.Size;
        _evictable.Enqueue(field);
    }

    private void Evict(int room)
    {
        while (_count > 0 && _bytes + room > _limit)
        {
            _bytes -= _evictable.Dequeue().Size;
            _count--;
        }
    }

    private void Grow()
    {
        HpackHeader[] larger = new HpackHeader[_ring.Length * 2];
        for (int i = 0; i < _count; i++)
        {
            larger[i] = _ring[(_newest - _count + 1 + i + _ring.Length) % _ring.Length];
        }

        _ring = larger;
        _newest = _count - 1;
    }

    private byte[] Text(ReadOnlySpan<byte> block, ref int at)
    {
        if (at == block.Length)
        {
            throw Short();
        }

        bool huffman = block[at] >= 0x80;
        int length = Integer(block, ref at, 7);
        if (length > block.Length - at)
        {
            throw Short();
        }

        ReadOnlySpan<byte> bytes = block.Slice(at, length);
        at += length;
        if (!huffman)
        {
            return bytes.ToArray();
        }

        if (length > _headerBytesMax)
        {
            throw new HpackException($"headers of more than {_headerBytesMax} bytes");
        }

        byte[] decoded = new byte[HpackHuffman.DecodedBytesMax(length)];
        return HpackHuffman.TryDecode(bytes, decoded, out int written)
            ? decoded.AsSpan(0, written).ToArray()
            : throw new HpackException("a wrong Huffman code");
    }

    // RFC 7541 §5.1. No number that makes sense needs more than four more bytes.
    private static int Integer(ReadOnlySpan<byte> block, ref int at, int prefixBits)
    {
        int mask = (1 << prefixBits) - 1;
        int value = block[at++] & mask;
        if (value < mask)
        {
            return value;
        }

        for (int shift = 0; shift <= 21; shift += 7)
        {
            if (at == block.Length)
            {
                throw Short();
            }

            byte b = block[at++];
            value += (b & 0x7f) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }

        throw new HpackException("a number that is too large");
    }

    private static HpackException Short() => new("a header block that ends early");

    // RFC 7541 appendix A.
    private static HpackHeader[] MakeStatic() =>
    [
        new(":authority", ""), new(":method", "GET"), new(":method", "POST"), new(":path", "/"), new(":path", "/index.html"),
        new(":scheme", "http"), new(":scheme", "https"), new(":status", "200"), new(":status", "204"), new(":status", "206"),
        new(":status", "304"), new(":status", "400"), new(":status", "404"), new(":status", "500"), new("accept-charset", ""),
        new("accept-encoding", "gzip, deflate"), new("accept-language", ""), new("accept-ranges", ""), new("accept", ""),
        new("access-control-allow-origin", ""), new("age", ""), new("allow", ""), new("authorization", ""), new("cache-control", ""),
        new("content-disposition", ""), new("content-encoding", ""), new("content-language", ""), new("content-length", ""),
        new("content-location", ""), new("content-range", ""), new("content-type", ""), new("cookie", ""), new("date", ""), new("etag", ""),
        new("expect", ""), new("expires", ""), new("from", ""), new("host", ""), new("if-match", ""), new("if-modified-since", ""),
        new("if-none-match", ""), new("if-range", ""), new("if-unmodified-since", ""), new("last-modified", ""), new("link", ""),
        new("location", ""), new("max-forwards", ""), new("proxy-authenticate", ""), new("proxy-authorization", ""), new("range", ""),
        new("referer", ""), new("refresh", ""), new("retry-after", ""), new("server", ""), new("set-cookie", ""),
        new("strict-transport-security", ""), new("transfer-encoding", ""), new("user-agent", ""), new("vary", ""), new("via", ""),
        new("www-authenticate", ""),
    ];
}

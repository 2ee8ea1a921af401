namespace Kapell.Etcd.Server.Http2;

/// <summary>
/// Decodes the header blocks of one connection and remembers the last few that left the table as it was: who calls the same method again
/// sends the same bytes, and they say the same until the table changes.
/// </summary>
internal sealed class HpackBlocks(HpackDecoder decoder)
{
    private const int BlocksMax = 8;
    private const int BlockBytesMax = 512;
    private readonly (byte[] Block, List<HpackHeader> Headers)[] _known = new (byte[], List<HpackHeader>)[BlocksMax];
    private long _changes; // Of the table, as of what is known.
    private int _count;
    private int _next;

    /// <summary>The fields in order; to be read only, for other requests share them.</summary>
    /// <exception cref="HpackException">The block is malformed or too large.</exception>
    public List<HpackHeader> Decode(ReadOnlySpan<byte> block)
    {
        long before = decoder.TableChanges;
        if (before != _changes)
        {
            (_changes, _count, _next) = (before, 0, 0);
        }

        for (int i = 0; i < _count; i++)
        {
            if (block.SequenceEqual(_known[i].Block))
            {
                return _known[i].Headers;
            }
        }

        List<HpackHeader> headers = new(12);
        decoder.Decode(block, headers);
        if (block.Length <= BlockBytesMax && decoder.TableChanges == before)
        {
            _known[_next] = (block.ToArray(), headers);
            _next = (_next + 1) % BlocksMax;
            _count = Math.Min(_count + 1, BlocksMax);
        }

        return headers;
    }
}

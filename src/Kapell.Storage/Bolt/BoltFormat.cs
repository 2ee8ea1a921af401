using System.Buffers.Binary;

namespace Kapell.Storage.Bolt;

/// <summary>
/// The file format of bbolt, version 2, little-endian. Page: id (8), flags (2), count (2), overflow pages (4), then elements, then
/// their bytes. Element of a branch: position from the element's own start (4), length of key (4), page (8); of a leaf: flags (4),
/// position (4), length of key (4), length of value (4). Pages 0 and 1 are metas, of which the valid one with the higher transaction
/// counts. bbolt: internal/common/page.go, meta.go
/// </summary>
internal static class BoltFormat
{
    public const int PageHeadBytes = 16;
    public const int ElementBytes = 16;
    public const int MetaBytes = 64;
    public const int BucketHeadBytes = 16;
    public const ushort BranchPage = 0x01;
    public const ushort LeafPage = 0x02;
    public const ushort MetaPage = 0x04;
    public const ushort FreelistPage = 0x10;
    public const uint BucketElement = 0x01;
    public const uint Magic = 0xED0CDAED;
    public const uint Version = 2;
    public const int PageBytesMin = 1024;
    public const int PageBytesMax = 64 * 1024;
    public const int KeyBytesMax = 32768;
    private const int ChecksumOffset = 56;

    /// <summary>Writes a whole head of a page.</summary>
    public static void WritePageHead(Span<byte> page, ulong id, ushort flags, int count, uint overflow)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(page, id);
        BinaryPrimitives.WriteUInt16LittleEndian(page[8..], flags);
        BinaryPrimitives.WriteUInt16LittleEndian(page[10..], checked((ushort)count));
        BinaryPrimitives.WriteUInt32LittleEndian(page[12..], overflow);
    }

    /// <summary>Fills a page that is otherwise zero.</summary>
    public static void WriteMetaPage(Span<byte> page, BoltMeta meta)
    {
        WritePageHead(page, meta.Transaction % 2, MetaPage, 0, 0);
        Span<byte> body = page.Slice(PageHeadBytes, MetaBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(body, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(body[4..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(body[8..], (uint)meta.PageBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(body[16..], meta.Root);
        BinaryPrimitives.WriteUInt64LittleEndian(body[32..], meta.Freelist);
        BinaryPrimitives.WriteUInt64LittleEndian(body[40..], meta.PageCount);
        BinaryPrimitives.WriteUInt64LittleEndian(body[48..], meta.Transaction);
        BinaryPrimitives.WriteUInt64LittleEndian(body[ChecksumOffset..], Checksum(body[..ChecksumOffset]));
    }

    /// <summary>Null when the bytes (head and body) are no valid meta.</summary>
    public static BoltMeta? ReadMeta(ReadOnlySpan<byte> page)
    {
        if (page.Length < PageHeadBytes + MetaBytes)
        {
            return null;
        }

        ReadOnlySpan<byte> body = page.Slice(PageHeadBytes, MetaBytes);
        uint pageBytes = BinaryPrimitives.ReadUInt32LittleEndian(body[8..]);
        bool good = BinaryPrimitives.ReadUInt32LittleEndian(body) == Magic
            && BinaryPrimitives.ReadUInt32LittleEndian(body[4..]) == Version
            && BinaryPrimitives.ReadUInt64LittleEndian(body[ChecksumOffset..]) == Checksum(body[..ChecksumOffset])
            && pageBytes is >= PageBytesMin and <= PageBytesMax && (pageBytes & (pageBytes - 1)) == 0;
        return !good ? null : new BoltMeta(
            (int)pageBytes,
            BinaryPrimitives.ReadUInt64LittleEndian(body[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(body[32..]),
            BinaryPrimitives.ReadUInt64LittleEndian(body[40..]),
            BinaryPrimitives.ReadUInt64LittleEndian(body[48..]));
    }

    /// <summary>FNV-1a of 64 bits.</summary>
    private static ulong Checksum(ReadOnlySpan<byte> bytes)
    {
        ulong hash = 14695981039346656037;
        foreach (byte b in bytes)
        {
            hash = unchecked((hash ^ b) * 1099511628211);
        }

        return hash;
    }
}

/// <param name="Root">The page where the names of the buckets begin.</param>
/// <param name="PageCount">All pages lie below it.</param>
internal sealed record BoltMeta(int PageBytes, ulong Root, ulong Freelist, ulong PageCount, ulong Transaction);

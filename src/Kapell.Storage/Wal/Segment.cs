using System.Buffers.Binary;
using System.Globalization;

namespace Kapell.Storage.Wal;

/// <summary>Names and heads of segment files: "KAPELWAL", version (4), zero (4), number (8), CRC of these (4), zeros up to 64.</summary>
internal static class Segment
{
    public const int HeadBytes = 64;
    public const string SpareName = "spare.tmp";
    private const uint Version = 1;
    private const int CrcOffset = 24;

    // The page cache keeps what is written at once as one piece, and each later write and flush looks through the whole piece that it
    // touches: behind zeros of a megabyte a write of some kilobytes costs nearly twice what it does behind zeros of a page.
    private const int ZeroBytes = 4096;

    // Of zeros that go to the disk at a time.
    private const int StepBytes = 256 << 10;
    private const string Extension = ".wal";
    private static ReadOnlySpan<byte> Magic => "KAPELWAL"u8;

    public static string NameOf(ulong number) => number.ToString("x16", CultureInfo.InvariantCulture) + Extension;

    public static ulong? NumberOf(string name) =>
        name.Length == 16 + Extension.Length
        && name.EndsWith(Extension, StringComparison.Ordinal)
        && ulong.TryParse(name[..16], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong number)
            ? number
            : null;

    public static byte[] MakeHead(ulong number)
    {
        byte[] head = new byte[HeadBytes];
        Magic.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(16), number);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(CrcOffset), Crc32C.Compute(head.AsSpan(0, CrcOffset)));
        return head;
    }

    /// <summary>Refuses a head that is not that of the named segment in a version we can read.</summary>
    public static void CheckHead(ReadOnlySpan<byte> bytes, string file, ulong number)
    {
        if (bytes.Length < HeadBytes || !bytes[..8].SequenceEqual(Magic))
        {
            throw new CorruptLogException(file, 0, "this is no segment of a write-ahead log");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[CrcOffset..]) != Crc32C.Compute(bytes[..CrcOffset]))
        {
            throw new CorruptLogException(file, CrcOffset, "the checksum of the head does not match");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]);
        if (version != Version)
        {
            throw new UnknownFormatException(file, version, Version);
        }

        ulong written = BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]);
        if (written != number)
        {
            throw new CorruptLogException(file, 16, $"the head says segment {written:x}: the file was renamed");
        }
    }

    /// <summary>A file of zeros on the disk, so that later flushes write data only and no metadata of the file system.</summary>
    /// <param name="rest">Called between steps, for whoever waits for the disk meanwhile; null when somebody waits for this.</param>
    public static void MakeZeroed(IDisk disk, string path, long length, Action? rest = null)
    {
        using IDiskFile file = disk.Open(path, DiskOpen.Create);
        file.SetLength(length);
        byte[] zeros = new byte[ZeroBytes];
        for (long offset = 0, written = 0; offset < length; offset += zeros.Length)
        {
            file.Write(offset, zeros.AsSpan(0, (int)Math.Min(zeros.Length, length - offset)));
            if (rest is not null && offset + zeros.Length - written >= StepBytes)
            {
                file.WriteBack(written, StepBytes);
                written += StepBytes;
                rest();
            }
        }

        file.Flush();
    }
}

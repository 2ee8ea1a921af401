using System.Buffers.Binary;

namespace Kapell.Storage.Checkpoints;

/// <summary>
/// Little-endian. Head of 32 bytes: "KAPELCKP", version (4), zero (4), tag (8), zero (4), CRC of these (4). Then blocks: length (4),
/// CRC (4) chained over all blocks so far with this length, bytes. A block of length zero ends the file: its CRC covers the total length,
/// which follows it (8).
/// </summary>
internal static class CheckpointFormat
{
    public const int HeadBytes = 32;
    public const int BlockHeadBytes = 8;
    public const int BlockBytes = 256 * 1024;
    public const int TrailBytes = BlockHeadBytes + sizeof(ulong);
    private const uint Version = 1;
    private const int CrcOffset = 28;
    private static ReadOnlySpan<byte> Magic => "KAPELCKP"u8;

    public static byte[] MakeHead(ulong tag)
    {
        byte[] head = new byte[HeadBytes];
        Magic.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(16), tag);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(CrcOffset), Crc32C.Compute(head.AsSpan(0, CrcOffset)));
        return head;
    }

    public static ulong ReadHead(ReadOnlySpan<byte> head, string path)
    {
        if (head.Length < HeadBytes || !head[..8].SequenceEqual(Magic))
        {
            throw new CorruptLogException(path, 0, "this is no checkpoint");
        }

        if (BinaryPrimitives.ReadUInt32LittleEndian(head[CrcOffset..]) != Crc32C.Compute(head[..CrcOffset]))
        {
            throw new CorruptLogException(path, CrcOffset, "the checksum of the head does not match");
        }

        uint version = BinaryPrimitives.ReadUInt32LittleEndian(head[8..]);
        return version == Version
            ? BinaryPrimitives.ReadUInt64LittleEndian(head[16..])
            : throw new UnknownFormatException(path, version, Version);
    }

    public static uint BlockCrc(uint previous, ReadOnlySpan<byte> block) =>
        Crc32C.Append(Crc32C.Append(previous, (ulong)block.Length), block);

    public static uint TrailCrc(uint previous, ulong totalBytes) => Crc32C.Append(Crc32C.Append(previous, 0UL), totalBytes);
}

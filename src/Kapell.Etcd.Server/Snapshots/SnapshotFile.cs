using System.Security.Cryptography;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>
/// A saved snapshot: the database in sectors of 512 bytes, then the 32 bytes of its SHA-256. A database copied from a data directory
/// has no such end. etcd: etcdutl/snapshot/v3_snapshot.go hasChecksum
/// </summary>
internal static class SnapshotFile
{
    public const int DigestBytes = 32;
    private const int SectorBytes = 512;

    public static bool HasDigest(long length) => length % SectorBytes == DigestBytes;

    /// <summary>Bytes of the database in the file.</summary>
    public static long DatabaseBytes(IDiskFile file) => HasDigest(file.Length) ? file.Length - DigestBytes : file.Length;

    /// <exception cref="InvalidDataException">The digest is not there or not that of the content.</exception>
    public static void Verify(IDiskFile file)
    {
        if (!HasDigest(file.Length))
        {
            throw new InvalidDataException("snapshot missing hash but --skip-hash-check=false");
        }

        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long left = DatabaseBytes(file);
        byte[] piece = new byte[1 << 20];
        for (long offset = 0; left > 0;)
        {
            int count = file.Read(offset, piece.AsSpan(0, (int)Math.Min(piece.Length, left)));
            if (count == 0)
            {
                throw new InvalidDataException("the file ended while it was read");
            }

            hash.AppendData(piece, 0, count);
            offset += count;
            left -= count;
        }

        byte[] expected = new byte[DigestBytes];
        file.Read(file.Length - DigestBytes, expected);
        byte[] found = hash.GetHashAndReset();
        if (!found.AsSpan().SequenceEqual(expected))
        {
            throw new InvalidDataException($"expected sha256 [{string.Join(' ', expected)}], got [{string.Join(' ', found)}]");
        }
    }
}

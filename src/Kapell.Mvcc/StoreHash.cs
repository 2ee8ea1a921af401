using System.Numerics;
using System.Runtime.InteropServices;

namespace Kapell.Mvcc;

/// <summary>
/// A CRC-32C over everything that can be read up to a revision, the same on every member whatever its pages look like, so that
/// members can be compared. It is not the number that upstream's storage format gives.
/// </summary>
public static unsafe class StoreHash
{
    public static uint Compute(MvccStore store, long revision)
    {
        uint hash = uint.MaxValue;
        KeyIndex index = store.Index;
        KeyCursor cursor = index.LowerBound([]);
        for (KeyEntry* entry = index.At(cursor); entry != null; entry = index.At(cursor))
        {
            int oldest = KeyEntry.IndexAt(entry, store.CompactRevision - 1);
            bool superseded = oldest + 1 < entry->Count && entry->Items[oldest + 1].Main == store.CompactRevision;
            for (int i = superseded ? oldest + 1 : Math.Max(oldest, 0); i < entry->Count && entry->Items[i].Main <= revision; i++)
            {
                RevisionItem item = entry->Items[i];
                if (!item.Address.IsTombstone || item.Main >= store.CompactRevision)
                {
                    hash = Add(hash, store.ReadBytes(item.Address));
                }
            }

            index.Next(ref cursor);
        }

        return ~hash;
    }

    private static uint Add(uint hash, ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (ulong word in words)
        {
            hash = BitOperations.Crc32C(hash, word);
        }

        foreach (byte b in bytes[(words.Length * 8)..])
        {
            hash = BitOperations.Crc32C(hash, b);
        }

        return hash;
    }
}

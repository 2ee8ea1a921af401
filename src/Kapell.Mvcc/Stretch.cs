using System.Buffers.Binary;
using Kapell.Storage;

namespace Kapell.Mvcc;

/// <summary>What to look at: keys in [Start, End), and of each its state at one revision and every change from there up to another.</summary>
public readonly ref struct StretchQuery
{
    public ReadOnlySpan<byte> Start { get; init; }

    /// <summary>Empty: no upper bound.</summary>
    public ReadOnlySpan<byte> End { get; init; }

    /// <summary>Nothing after this counts; not above the store's.</summary>
    public long Revision { get; init; }

    /// <summary>Of what was changed up to here only what is still the state here counts; not below the store's.</summary>
    public long CompactRevision { get; init; }

    /// <summary>Keys to count before stopping. Those without a change that counts are looked at, up to fifty times as many.</summary>
    public int KeysMax { get; init; }

    /// <summary>Bytes of records to look at before stopping.</summary>
    public long BytesMax { get; init; }
}

/// <summary>What a stretch holds, in a few numbers. Two members that applied the same log up to its revision have the same.</summary>
public readonly record struct StretchSum(long Keys, long Records, long Bytes, uint Crc);

/// <summary>One change in a stretch; the checksum is over its bytes and its place in its transaction.</summary>
public readonly record struct StretchRecord(byte[] Key, long Revision, bool IsTombstone, uint Crc);

/// <summary>
/// Sums over stretches of keys, for comparing members. They depend on the log alone: not on when a compaction came around to freeing, nor
/// on whether the store was read from a checkpoint. Records are taken as the bytes that they are, so that damaged ones can be looked at.
/// </summary>
public static unsafe class Stretch
{
    private const int LookedPerKey = 50;

    /// <param name="next">The key to go on with when a limit was reached; null when the stretch was seen to its end.</param>
    public static StretchSum Sum(MvccStore store, in StretchQuery query, out byte[]? next) => Sum(store, query, 0, out next);

    /// <summary>As above, with the checksum going on from that of the stretch before.</summary>
    public static StretchSum Sum(MvccStore store, in StretchQuery query, uint crc, out byte[]? next)
    {
        long keys = 0, records = 0, bytes = 0;
        long looked = 0;
        KeyIndex index = store.Index;
        KeyCursor cursor = index.LowerBound(query.Start);
        for (KeyEntry* entry = index.At(cursor); entry != null && IsBefore(KeyIndex.Key(entry), query.End); entry = index.At(cursor), looked++)
        {
            if (keys >= query.KeysMax || bytes >= query.BytesMax || looked >= (long)query.KeysMax * LookedPerKey)
            {
                next = KeyIndex.Key(entry).ToArray();
                return new StretchSum(keys, records, bytes, crc);
            }

            (int from, int to) = Changes(entry, query);
            keys += from <= to ? 1 : 0;
            for (int i = from; i <= to; i++)
            {
                ReadOnlySpan<byte> record = store.ReadBytes(entry->Items[i].Address);
                crc = Append(crc, entry->Items[i], record);
                records++;
                bytes += record.Length;
            }

            index.Next(ref cursor);
        }

        next = null;
        return new StretchSum(keys, records, bytes, crc);
    }

    /// <summary>The changes one by one, in the order of keys and revisions, at most as many as the query has keys.</summary>
    public static List<StretchRecord> List(MvccStore store, in StretchQuery query)
    {
        List<StretchRecord> all = [];
        KeyIndex index = store.Index;
        KeyCursor cursor = index.LowerBound(query.Start);
        for (KeyEntry* entry = index.At(cursor); entry != null && IsBefore(KeyIndex.Key(entry), query.End); entry = index.At(cursor))
        {
            (int from, int to) = Changes(entry, query);
            for (int i = from; i <= to; i++)
            {
                if (all.Count >= query.KeysMax)
                {
                    return all;
                }

                RevisionItem item = entry->Items[i];
                uint crc = Append(0, item, store.ReadBytes(item.Address));
                all.Add(new StretchRecord(KeyIndex.Key(entry).ToArray(), item.Main, item.Address.IsTombstone, crc));
            }

            index.Next(ref cursor);
        }

        return all;
    }

    // A tombstone that is the state at the compaction may have been freed already, or not yet: it does not count.
    private static (int From, int To) Changes(KeyEntry* entry, in StretchQuery query)
    {
        int state = KeyEntry.IndexAt(entry, query.CompactRevision);
        int from = state >= 0 && !entry->Items[state].Address.IsTombstone ? state : state + 1;
        return (from, KeyEntry.IndexAt(entry, query.Revision));
    }

    private static bool IsBefore(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end) => end.IsEmpty || key.SequenceCompareTo(end) < 0;

    private static uint Append(uint crc, RevisionItem item, ReadOnlySpan<byte> record)
    {
        Span<byte> place = stackalloc byte[17];
        BinaryPrimitives.WriteInt64LittleEndian(place, item.Main);
        BinaryPrimitives.WriteUInt32LittleEndian(place[8..], RecordPages.SubOf(item.Address));
        BinaryPrimitives.WriteInt32LittleEndian(place[12..], record.Length);
        place[16] = item.Address.IsTombstone ? (byte)1 : (byte)0;
        return Crc32C.Append(Crc32C.Append(crc, place), record);
    }
}

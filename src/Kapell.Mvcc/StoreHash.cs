using Kapell.Storage;

namespace Kapell.Mvcc;

/// <summary>
/// The number that etcd's HashKV gives for the same history: a CRC-32C over the name of the bucket, then revision and pair of every
/// change up to a revision; of what lies before the compaction only that which is still the state. etcd: mvcc/hash.go
/// </summary>
public static unsafe class StoreHash
{
    public static uint Compute(MvccStore store, long revision)
    {
        Hasher hasher = new();
        foreach ((long main, RecordAddress address) in Kept(store, revision).OrderBy(i => i.Main).ThenBy(i => RecordPages.SubOf(i.Address)))
        {
            hasher.Add(new RevisionKey(main, RecordPages.SubOf(address), false), store.Read(address));
        }

        long end = store.Log.LowerBound(revision + 1);
        for (long position = store.Log.LowerBound(store.CompactRevision + 1); position < end; position++)
        {
            LogItem item = store.Log[position];
            hasher.Add(new RevisionKey(item.Main, RecordPages.SubOf(item.Address), item.Address.IsTombstone), store.Read(item.Address));
        }

        return hasher.Value;
    }

    /// <summary>
    /// The records up to the compaction that upstream counts: those that are the state at the revision hashed; when nothing is, those
    /// that are the state at the compaction.
    /// </summary>
    private static List<(long Main, RecordAddress Address)> Kept(MvccStore store, long revision)
    {
        List<(long Main, RecordAddress Address)> atCompaction = [];
        List<(long Main, RecordAddress Address)> stillThere = [];
        if (store.CompactRevision == 0)
        {
            return stillThere;
        }

        bool anything = false;
        KeyIndex index = store.Index;
        KeyCursor cursor = index.LowerBound([]);
        for (KeyEntry* entry = index.At(cursor); entry != null; entry = index.At(cursor))
        {
            int now = KeyEntry.IndexAt(entry, revision);
            bool there = now >= 0 && !entry->Items[now].Address.IsTombstone;
            anything |= there;
            int at = KeyEntry.IndexAt(entry, store.CompactRevision);
            if (at >= 0 && !entry->Items[at].Address.IsTombstone)
            {
                atCompaction.Add((entry->Items[at].Main, entry->Items[at].Address));
                if (at == now)
                {
                    stillThere.Add(atCompaction[^1]);
                }
            }

            index.Next(ref cursor);
        }

        return anything ? stillThere : atCompaction;
    }

    /// <summary>The sum, fed in the order of revisions.</summary>
    private sealed class Hasher
    {
        private readonly byte[] _key = new byte[RevisionKey.BytesMax];

        public uint Value { get; private set; } = Crc32C.Compute("key"u8);

        public void Add(RevisionKey key, in KeyValueRecord record)
        {
            int length = key.Write(_key);
            Value = Crc32C.Append(Value, _key.AsSpan(0, length));

            // In the database a deletion has nothing but its key.
            Value = Crc32C.Append(Value, key.IsTombstone ? record.KeyField : record.Bytes);
        }
    }
}

namespace Kapell.Mvcc;

/// <summary>Range queries. etcd: mvcc/kvstore_txn.go rangeKeys, etcdserver/txn/range.go</summary>
internal static unsafe class RangeReader
{
    /// <summary>From where the result stands, no more than so many keys; filters and sorts when it is whole.</summary>
    public static void Read(MvccStore store, scoped in RangeQuery query, RangeResult result, int keysMax)
    {
        Collect(store, query, result, keysMax);
        if (result.IsWhole)
        {
            Arrange(store, query, result);
        }
    }

    // A key that has come since the range began has no change at its revision; none has gone, for nothing is freed meanwhile.
    private static void Collect(MvccStore store, scoped in RangeQuery query, RangeResult result, int keysMax)
    {
        long limit = query.FetchMax;
        bool fetch = !query.CountOnly;
        KeyIndex index = store.Index;
        KeyCursor cursor = index.LowerBound(result.Next is null ? query.Key : result.Next);
        result.Next = null;

        // The end is looked up once: no key between is read, so counting touches the index alone.
        KeyCursor end = index.EndOf(cursor, query.Key, query.End);
        for (; cursor.IsBefore(end); index.Next(ref cursor))
        {
            KeyEntry* entry = index.At(cursor);
            if (keysMax-- <= 0)
            {
                result.Next = KeyIndex.Key(entry).ToArray();
                return;
            }

            int item = KeyEntry.IndexAt(entry, result.At);
            if (item >= 0 && !entry->Items[item].Address.IsTombstone)
            {
                result.Count++;
                if (query.StopsAtLimit && result.Count > limit)
                {
                    break;
                }

                if (fetch && result.Records.Count < limit)
                {
                    result.Records.Add(entry->Items[item].Address);
                }
            }
        }
    }

    private static void Arrange(MvccStore store, scoped in RangeQuery query, RangeResult result)
    {
        if (!query.HasFilters && !query.NeedsSort)
        {
            result.More = !query.CountOnly && result.Count > result.Records.Count;
            return;
        }

        if (query.HasFilters)
        {
            Filter(store, query, result.Records);
        }

        if (query.NeedsSort)
        {
            Sort(store, query.SortTarget, query.EffectiveOrder == SortOrder.Descend, result.Records);
        }

        if (query.Limit > 0 && result.Records.Count > query.Limit)
        {
            result.More = true;
            result.Records.RemoveRange((int)query.Limit, result.Records.Count - (int)query.Limit);
        }
    }

    private static void Filter(MvccStore store, scoped in RangeQuery query, List<RecordAddress> records)
    {
        int kept = 0;
        foreach (RecordAddress address in records.ToArray())
        {
            KeyValueRecord record = store.Read(address);
            bool keep = (query.MaxModRevision == 0 || record.ModRevision <= query.MaxModRevision)
                && (query.MinModRevision == 0 || record.ModRevision >= query.MinModRevision)
                && (query.MaxCreateRevision == 0 || record.CreateRevision <= query.MaxCreateRevision)
                && (query.MinCreateRevision == 0 || record.CreateRevision >= query.MinCreateRevision);
            if (keep)
            {
                records[kept++] = address;
            }
        }

        records.RemoveRange(kept, records.Count - kept);
    }

    private static void Sort(MvccStore store, SortTarget target, bool descending, List<RecordAddress> records)
    {
        int sign = descending ? -1 : 1;
        records.Sort((left, right) =>
        {
            KeyValueRecord a = store.Read(left);
            KeyValueRecord b = store.Read(right);
            int order = target switch
            {
                SortTarget.Version => a.Version.CompareTo(b.Version),
                SortTarget.Create => a.CreateRevision.CompareTo(b.CreateRevision),
                SortTarget.Mod => a.ModRevision.CompareTo(b.ModRevision),
                SortTarget.Value => a.Value.SequenceCompareTo(b.Value),
                _ => a.Key.SequenceCompareTo(b.Key),
            };

            // The order among equals is not promised; upstream's short lists keep that of the keys, whichever way they are sorted.
            return order != 0 ? sign * order : a.Key.SequenceCompareTo(b.Key);
        });
    }
}

namespace Kapell.Mvcc;

/// <summary>By what a range is sorted; keys in byte order unless asked otherwise. Numbers are the protocol's.</summary>
public enum SortTarget
{
    Key = 0,
    Version = 1,
    Create = 2,
    Mod = 3,
    Value = 4,
}

/// <summary>The numbers are the protocol's.</summary>
public enum SortOrder
{
    None = 0,
    Ascend = 1,
    Descend = 2,
}

/// <summary>Why a revision cannot be read.</summary>
public enum RevisionStatus
{
    Ok,
    Compacted,
    Future,
}

/// <summary>
/// What to read. An empty <see cref="End"/> means the one key; <see cref="End"/> of one zero byte means all keys from
/// <see cref="Key"/> on. Revision 0 is the newest; zero bounds and limit are none.
/// </summary>
public readonly ref struct RangeQuery
{
    public ReadOnlySpan<byte> Key { get; init; }

    public ReadOnlySpan<byte> End { get; init; }

    public long Limit { get; init; }

    public long Revision { get; init; }

    public SortOrder SortOrder { get; init; }

    public SortTarget SortTarget { get; init; }

    /// <summary>Do not count beyond the limit: <see cref="RangeResult.Count"/> is then only what was read, and one more if there is more. Without sorting and filters.</summary>
    public bool StopsAtLimit { get; init; }

    public bool CountOnly { get; init; }

    public long MinModRevision { get; init; }

    public long MaxModRevision { get; init; }

    public long MinCreateRevision { get; init; }

    public long MaxCreateRevision { get; init; }

    internal bool HasFilters => MinModRevision != 0 || MaxModRevision != 0 || MinCreateRevision != 0 || MaxCreateRevision != 0;

    // etcd: txn/range.go sortRangeResults: a target other than the key sorts ascending unless told otherwise.
    internal SortOrder EffectiveOrder => SortTarget != SortTarget.Key && SortOrder == SortOrder.None ? SortOrder.Ascend : SortOrder;

    internal bool NeedsSort => EffectiveOrder == SortOrder.Descend || (EffectiveOrder == SortOrder.Ascend && SortTarget != SortTarget.Key);

    /// <summary>
    /// How many to fetch. Without an order upstream takes the limit and one more by their keys, and only then sorts by the target: what comes
    /// is not the first of all. etcd: txn/range.go rangeLimit, sortRangeResults
    /// </summary>
    internal long FetchMax => Limit is <= 0 or long.MaxValue || HasFilters ? long.MaxValue
        : !NeedsSort ? Limit
        : SortOrder == SortOrder.None ? Limit + 1
        : long.MaxValue;
}

/// <summary>The records found; they stay valid while the store is not changed. Reusable.</summary>
public sealed class RangeResult
{
    public List<RecordAddress> Records { get; } = [];

    /// <summary>All keys in the range at the revision, whatever the limit and the filters.</summary>
    public long Count { get; internal set; }

    public bool More { get; internal set; }

    /// <summary>The newest revision of the store when it was read.</summary>
    public long StoreRevision { get; internal set; }

    /// <summary>Nothing is left to look at.</summary>
    public bool IsWhole => Next is null;

    /// <summary>The revision that is read.</summary>
    internal long At { get; set; }

    /// <summary>Before which key to go on; null when there is nothing more.</summary>
    internal byte[]? Next { get; set; }

    internal void Clear()
    {
        Records.Clear();
        Next = null;
        Count = 0;
        More = false;
    }
}

namespace Kapell.Mvcc;

/// <summary>What was asked of the store since it was opened. Reads are counted from any thread, the rest by the owner.</summary>
public sealed class StoreCounts
{
    private long _ranges;

    public long Ranges => Interlocked.Read(ref _ranges);

    public long Puts { get; internal set; }

    /// <summary>Bytes of the keys and values that were put.</summary>
    public long PutBytes { get; internal set; }

    /// <summary>Requests to delete, whether or not something was there.</summary>
    public long Deletes { get; internal set; }

    /// <summary>Transactions, counted by who carries them out.</summary>
    public long Transactions { get; set; }

    internal void CountRange() => Interlocked.Increment(ref _ranges);
}

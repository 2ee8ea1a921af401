namespace Kapell.Mvcc;

/// <summary>Where a record lies in memory, and whether it is a tombstone, so that a deletion is known without reading it.</summary>
public readonly record struct RecordAddress(ulong Value)
{
    private const ulong TombstoneBit = 1UL << 63;

    internal unsafe RecordAddress(byte* record, bool tombstone)
        : this((ulong)record | (tombstone ? TombstoneBit : 0))
    {
    }

    public bool IsTombstone => (Value & TombstoneBit) != 0;

    internal unsafe byte* Record => (byte*)(Value & ~TombstoneBit);
}

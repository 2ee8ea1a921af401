namespace Kapell.Mvcc;

/// <summary>Where a record lies: page, offset and whether it is a tombstone, so that a deletion is known without reading it.</summary>
public readonly record struct RecordAddress(ulong Value)
{
    private const ulong TombstoneBit = 1UL << 63;

    internal RecordAddress(int page, int offset, bool tombstone)
        : this(((ulong)(uint)page << 32) | (uint)offset | (tombstone ? TombstoneBit : 0))
    {
    }

    public bool IsTombstone => (Value & TombstoneBit) != 0;

    internal int Page => (int)((Value & ~TombstoneBit) >> 32);

    internal int Offset => (int)(Value & int.MaxValue);
}

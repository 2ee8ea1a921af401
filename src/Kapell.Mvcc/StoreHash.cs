using Kapell.Storage;

namespace Kapell.Mvcc;

/// <summary>
/// The number that etcd's HashKV gives for the same history: a CRC-32C over the name of the bucket, then revision and pair of every
/// change up to a revision; of what lies before the compaction only that which is still the state there, or, when nothing is, all that was
/// the state at the compaction. Made in pieces, as the <see cref="RevisionSource"/> that it reads. etcd: mvcc/hash.go
/// </summary>
public sealed class StoreHash
{
    private readonly RevisionSource _source;
    private readonly byte[] _key = new byte[RevisionKey.BytesMax];

    internal StoreHash(RevisionSource source) => _source = source;

    public long Revision => _source.Revision;

    /// <summary>As of the beginning; 0 before the first compaction.</summary>
    public long CompactRevision => _source.CompactRevision;

    /// <summary>When all was taken in.</summary>
    public uint Value { get; private set; } = Crc32C.Compute("key"u8);

    /// <summary>All at once: for who owns the store.</summary>
    public static uint Compute(MvccStore store, long revision)
    {
        StoreHash hash = store.BeginHash(revision);
        while (hash.Collect(int.MaxValue))
        {
            // Until all is found.
        }

        hash.Arrange();
        while (hash.Next(int.MaxValue))
        {
            // Until all is taken in.
        }

        hash.End();
        return hash.Value;
    }

    /// <inheritdoc cref="RevisionSource.Collect"/>
    public bool Collect(int budget) => _source.Collect(budget);

    /// <inheritdoc cref="RevisionSource.Arrange"/>
    public void Arrange() => _source.Arrange();

    /// <summary>Takes about <paramref name="budget"/> bytes more in; false when all was.</summary>
    public bool Next(int budget) => _source.Next(Add, budget);

    /// <inheritdoc cref="RevisionSource.End"/>
    public void End() => _source.End();

    private void Add(RevisionKey key, in KeyValueRecord record)
    {
        int length = key.Write(_key);
        Value = Crc32C.Append(Value, _key.AsSpan(0, length));

        // In the database a deletion has nothing but its key.
        Value = Crc32C.Append(Value, key.IsTombstone ? record.KeyField : record.Bytes);
    }
}

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
    private uint _value = Crc32C.Compute("key"u8);

    internal StoreHash(RevisionSource source) => _source = source;

    /// <summary>All at once: for who owns the store.</summary>
    public static uint Compute(MvccStore store, long revision)
    {
        StoreHash hash = store.BeginHash(revision);
        uint value = hash.Take(static work => work(), int.MaxValue, CancellationToken.None);
        hash.End();
        return value;
    }

    /// <inheritdoc cref="RevisionSource.Find"/>
    public uint Take(Action<Action> guarded, int budget, CancellationToken stopping)
    {
        using (_source)
        {
            _source.Find(guarded, budget, stopping);
            bool more = true;
            while (more)
            {
                stopping.ThrowIfCancellationRequested();
                guarded(() => more = _source.Next(Add, budget));
            }
        }

        return _value;
    }

    /// <inheritdoc cref="RevisionSource.End"/>
    public void End() => _source.End();

    private void Add(RevisionKey key, in KeyValueRecord record)
    {
        int length = key.Write(_key);
        _value = Crc32C.Append(_value, _key.AsSpan(0, length));

        // In the database a deletion has nothing but its key.
        _value = Crc32C.Append(_value, key.IsTombstone ? record.KeyField : record.Bytes);
    }
}

using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>
/// Builds a store from a history in the order of revisions, as a database of etcd holds it: what came before the compaction may be
/// there in part. Disposed without <see cref="Build"/>, it frees what it holds.
/// </summary>
public sealed class StoreBuilder : IDisposable
{
    private readonly MvccStore _store = new();
    private RevisionKey _last;
    private bool _built;

    public StoreBuilder() => _store.RestoreBegin(1, 0);

    /// <summary>The newest revision so far.</summary>
    public long LastRevision => Math.Max(_last.Main, 1);

    /// <exception cref="FormatException">The lease is impossible or was added before.</exception>
    public void AddLease(long id, long ttlSeconds)
    {
        if (id == 0 || ttlSeconds <= 0 || !_store.Leases.Grant(id, ttlSeconds, now: 0))
        {
            throw new FormatException($"lease {id:x} of {ttlSeconds} s is impossible, or there twice");
        }
    }

    /// <param name="bytes">The encoded pair; of a tombstone only its key counts.</param>
    /// <exception cref="FormatException">The record contradicts itself or what came before.</exception>
    public void Add(RevisionKey at, ReadOnlySpan<byte> bytes)
    {
        bool rises = at.Main > _last.Main || (at.Main == _last.Main && at.Sub > _last.Sub);
        if (at.Main <= 0 || at.Sub > uint.MaxValue || (!rises && _last != default))
        {
            throw new FormatException($"revision {at.Main}.{at.Sub} after {_last.Main}.{_last.Sub}");
        }

        _last = at;
        KeyValueRecord record = KeyValueRecord.Parse(bytes);
        if (record.Key.IsEmpty)
        {
            // etcd: v3_snapshot.go unsafeBumpBucketsRevision: only the revision counts.
            return;
        }

        long create = at.IsTombstone ? 0 : record.CreateRevision;
        long version = at.IsTombstone ? 0 : record.Version;
        bool sound = at.IsTombstone || (record.ModRevision == at.Main && create > 0 && create <= at.Main && version > 0);
        if (!sound)
        {
            throw new FormatException($"the pair at revision {at.Main}.{at.Sub} says it was changed at {record.ModRevision}, created at {create}");
        }

        ReadOnlySpan<byte> value = at.IsTombstone ? default : record.Value;
        long lease = at.IsTombstone ? 0 : record.Lease;
        byte[] encoded = new byte[KeyValueRecord.SizeOf(record.Key.Length, value.Length, create, at.Main, version, lease)];
        KeyValueRecord.Write(encoded, record.Key, value, create, at.Main, version, lease);
        _store.RestoreRecord(encoded, (uint)at.Sub, at.IsTombstone, inLog: true);
    }

    /// <param name="revision">The newest; not below what was added.</param>
    /// <param name="compactRevision">Everything below it goes; 0 for none.</param>
    public MvccStore Build(long revision, long compactRevision)
    {
        Check.That(!_built && revision >= LastRevision && compactRevision <= revision);
        _built = true;
        _store.RestoreEnd(revision);
        if (compactRevision > 0)
        {
            _store.CompactAtOnce(compactRevision);
        }

        return _store;
    }

    public void Dispose()
    {
        if (!_built)
        {
            _store.Dispose();
        }
    }
}

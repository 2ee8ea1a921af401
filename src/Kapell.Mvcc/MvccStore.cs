using Kapell.Base;

namespace Kapell.Mvcc;

/// <summary>What a write made: the revision, and the places of its changes in the log, from first to before last.</summary>
public readonly record struct WriteResult(long Revision, long FirstPosition, long EndPosition);

/// <summary>
/// All keys at all revisions since the last compaction, in memory, outside the collected heap. Changed only by its owner, one call
/// at a time; any number of readers may read while nobody changes it (the owner holds a reader-writer lock or is the only thread).
/// A change is <see cref="BeginWrite"/>, any of <see cref="Put"/> and <see cref="DeleteRange"/>, <see cref="EndWrite"/>.
/// </summary>
public sealed unsafe class MvccStore : IDisposable
{
    private const int CompactedAtOnce = 65536; // Records.

    private readonly RecordPages _pages;
    private readonly Func<Action, Task>? _beside;
    private readonly KeyIndex _index = new();
    private readonly RevisionLog _log = new();
    private readonly Compactor _compactor;
    private bool _writing;
    private bool _retired;
    private RestoreBatch? _restoring;
    private long _firstPosition;

    /// <param name="beside">
    /// Runs a short piece of work on another thread: memory is made ready there before it is needed, and a checkpoint that is read is put
    /// into the index. Null: all is done by the owner.
    /// </param>
    public MvccStore(Func<Action, Task>? beside = null)
    {
        _beside = beside;
        _pages = new RecordPages(beside);
        _compactor = new Compactor(_pages, _index, _log);
    }

    /// <summary>The newest revision. An empty store has 1, as etcd's.</summary>
    public long Revision { get; private set; } = 1;

    /// <summary>Revisions below this are gone; 0 before the first compaction.</summary>
    public long CompactRevision => _compactor.CompactRevision;

    public StoreCounts Counts { get; } = new();

    public LeaseTable Leases { get; } = new();

    public WatchHub Watchers { get; private set; } = new();

    public long KeyCount => _index.Count;

    /// <summary>Keys that are there now; the deleted ones of <see cref="KeyCount"/> wait for compaction.</summary>
    public long LiveKeyCount => _index.LiveCount;

    /// <summary>Bytes that the content needs: what the quota counts.</summary>
    public long LiveBytes => _pages.LiveBytes + _index.Bytes;

    /// <summary>Bytes held from the system.</summary>
    public long AllocatedBytes => _pages.AllocatedBytes + _index.Bytes;

    /// <summary>Where the log begins and ends; the end is the place of the next change.</summary>
    public long LogEnd => _log.End;

    private uint NextSub => checked((uint)(_log.End - _firstPosition));

    internal KeyIndex Index => _index;

    internal RevisionLog Log => _log;

    internal Compactor Compactor => _compactor;

    /// <summary>The newest revision, or inside a write that has changed something the one it makes.</summary>
    public long ViewRevision => _writing && _log.End > _firstPosition ? Revision + 1 : Revision;

    public KeyValueRecord Read(RecordAddress address) => KeyValueRecord.Parse(RecordPages.Read(address));

    public ReadOnlySpan<byte> ReadBytes(RecordAddress address) => RecordPages.Read(address);

    public RevisionStatus CheckRevision(long revision) =>
        revision > ViewRevision ? RevisionStatus.Future
        : revision > 0 && revision < CompactRevision ? RevisionStatus.Compacted
        : RevisionStatus.Ok;

    public RevisionStatus Range(scoped in RangeQuery query, RangeResult result) => Range(query, result, int.MaxValue);

    /// <summary>
    /// Begins a range that looks at no more than so many keys at a time. Unless <see cref="RangeResult.IsWhole"/>, the store is to be pinned
    /// before it changes, and <see cref="GoOn"/> to be called until it is: the answer is that of this moment.
    /// </summary>
    public RevisionStatus Range(scoped in RangeQuery query, RangeResult result, int keysMax)
    {
        Counts.CountRange();
        result.Clear();
        result.StoreRevision = ViewRevision;
        RevisionStatus status = CheckRevision(query.Revision);
        if (status == RevisionStatus.Ok)
        {
            result.At = query.Revision <= 0 ? ViewRevision : query.Revision;
            RangeReader.Read(this, query, result, keysMax);
        }

        return status;
    }

    /// <summary>The next keys of a range that is not whole yet, with the query that it began with.</summary>
    public void GoOn(scoped in RangeQuery query, RangeResult result, int keysMax)
    {
        Check.That(!result.IsWhole);
        RangeReader.Read(this, query, result, keysMax);
    }

    /// <summary>The record of a key at a revision (0: now).</summary>
    public bool TryGet(ReadOnlySpan<byte> key, long revision, out RecordAddress address)
    {
        address = default;
        KeyEntry* entry = _index.Find(key);
        if (entry == null)
        {
            return false;
        }

        int at = KeyEntry.IndexAt(entry, revision <= 0 ? ViewRevision : revision);
        if (at < 0 || entry->Items[at].Address.IsTombstone)
        {
            return false;
        }

        address = entry->Items[at].Address;
        return true;
    }

    public void BeginWrite()
    {
        Check.That(!_writing);
        _writing = true;
        _firstPosition = _log.End;
    }

    /// <summary>Lease 0 is none; another must exist.</summary>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, long lease)
    {
        Check.That(_writing);
        Counts.Puts++;
        Counts.PutBytes += key.Length + value.Length;
        long main = Revision + 1;
        long create = main;
        long version = 1;
        long leaseBefore = 0;
        bool known = _index.TryFind(key, out KeyCursor cursor);
        KeyEntry* entry = known ? _index.At(cursor) : null;
        if (known && IsAlive(entry))
        {
            KeyValueRecord before = Read(entry->Newest.Address);
            create = before.CreateRevision;
            version = before.Version + 1;
            leaseBefore = before.Lease;
        }

        int size = KeyValueRecord.SizeOf(key.Length, value.Length, create, main, version, lease);
        RecordAddress address = _pages.Append(size, NextSub, tombstone: false, out Span<byte> into);
        KeyValueRecord.Write(into, key, value, create, main, version, lease);
        RevisionItem item = new() { Main = main, Address = address };
        if (known)
        {
            _index.Append(entry, item);
        }
        else
        {
            entry = _index.Insert(cursor, item);
        }

        ChangeLease(entry, leaseBefore, lease);
        _log.Add(main, address);
    }

    /// <summary>Deletes what is there; adds the records deleted to <paramref name="deleted"/> when given.</summary>
    public long DeleteRange(ReadOnlySpan<byte> key, ReadOnlySpan<byte> end, List<RecordAddress>? deleted)
    {
        Check.That(_writing);
        Counts.Deletes++;
        long count = 0;
        KeyCursor cursor = _index.LowerBound(key);
        KeyCursor last = _index.EndOf(cursor, key, end);
        for (; cursor.IsBefore(last); _index.Next(ref cursor))
        {
            KeyEntry* entry = _index.At(cursor);
            if (IsAlive(entry))
            {
                deleted?.Add(entry->Newest.Address);
                Bury(entry);
                count++;
            }
        }

        return count;
    }

    /// <summary>Makes the changes visible as one revision and tells the watchers. Without a change there is no new revision.</summary>
    public WriteResult EndWrite()
    {
        Check.That(_writing);
        _writing = false;
        if (_log.End > _firstPosition)
        {
            Revision++;
        }

        if (Watchers.Count > 0)
        {
            for (long position = _firstPosition; position < _log.End; position++)
            {
                RecordAddress address = _log[position].Address;
                Watchers.Publish(Read(address).Key, position, address.IsTombstone);
            }
        }

        return new WriteResult(Revision, _firstPosition, _log.End);
    }

    /// <summary>Deletes the keys of the lease, then the lease; false when there is none.</summary>
    public bool RevokeLease(long id)
    {
        Check.That(_writing);
        if (!Leases.Contains(id))
        {
            return false;
        }

        // Sorted, so that every member gives the deletions the same order. etcd: lessor.go Revoke
        nint[] keys = Leases.KeysOf(id);
        Array.Sort(keys, static (a, b) => KeyIndex.Key((KeyEntry*)a).SequenceCompareTo(KeyIndex.Key((KeyEntry*)b)));
        foreach (nint key in keys)
        {
            Bury((KeyEntry*)key);
        }

        Leases.Remove(id);
        return true;
    }

    public List<byte[]> KeysOfLease(long id)
    {
        List<byte[]> keys = [];
        foreach (nint key in Leases.KeysOf(id))
        {
            keys.Add(KeyIndex.Key((KeyEntry*)key).ToArray());
        }

        keys.Sort(static (a, b) => a.AsSpan().SequenceCompareTo(b));
        return keys;
    }

    /// <summary>Revisions below <paramref name="revision"/> are refused from now on; memory comes back through <see cref="Maintain"/>.</summary>
    public RevisionStatus Compact(long revision)
    {
        Check.That(!_writing);
        if (revision <= CompactRevision)
        {
            // Before the first compaction, one to the revision before everything does nothing. etcd: kvstore.go updateCompactRev, from -1 on
            return revision == 0 && CompactRevision == 0 ? RevisionStatus.Ok : RevisionStatus.Compacted;
        }

        if (revision > Revision)
        {
            return RevisionStatus.Future;
        }

        _compactor.Begin(revision);
        return RevisionStatus.Ok;
    }

    /// <summary>
    /// Makes a later revision the newest and compacts to it: who still knows revisions that a restored store never had, or has again with other
    /// content, hears that they are gone. etcd: etcdutl/snapshot/v3_snapshot.go modifyLatestRevision
    /// </summary>
    /// <param name="revision">Above the newest.</param>
    public void Bump(long revision)
    {
        Check.That(!_writing && revision > Revision);
        Revision = revision;
        CompactAtOnce(revision);
    }

    /// <summary>As <see cref="Compact"/>, with all that there is to free, when nobody waits or reads.</summary>
    internal void CompactAtOnce(long revision)
    {
        Check.That(Readers == 0 && Compact(revision) == RevisionStatus.Ok);
        while (Maintain(CompactedAtOnce))
        {
        }
    }

    /// <summary>A step of compaction, about <paramref name="budget"/> records; false when there is nothing left to do.</summary>
    /// <param name="upTo">Nothing is begun of a compaction to a later revision than this.</param>
    public bool Maintain(int budget, long upTo = long.MaxValue)
    {
        Check.That(!_writing);
        return _compactor.Step(budget, upTo);
    }

    /// <summary>A compaction still has something to free; it waits for the <see cref="Readers"/>.</summary>
    public bool IsCompacting => _compactor.IsPruning;

    /// <summary>What <see cref="Maintain"/> has to do brings memory back little by little, and may wait.</summary>
    public bool IsTidying => _compactor.IsTidying;

    /// <summary>Records that compactions have freed since the store was opened.</summary>
    public long CompactedRecords => _compactor.Freed;

    /// <summary>How many read the store bit by bit now: for a checkpoint, a snapshot or a hash.</summary>
    public int Readers => _compactor.Pins;

    /// <summary>The place in the log of the first change at or after a revision; the revision must not be compacted.</summary>
    public long PositionOf(long revision) => _log.LowerBound(Math.Max(revision, CompactRevision));

    /// <summary>
    /// False when the change may have been freed since its place was noted. That is later than its compaction, so that a watcher which was told of
    /// it just before gets it still.
    /// </summary>
    public bool ReadChange(long position, out long revision, out RecordAddress address)
    {
        if (position < _log.Start || _log[position].Main < _compactor.FreedBelow)
        {
            (revision, address) = (0, default);
            return false;
        }

        ref LogItem item = ref _log[position];
        (revision, address) = (item.Main, item.Address);
        return true;
    }

    /// <summary>A consistent picture of now, to be read bit by bit while writes go on; until it is ended nothing is freed.</summary>
    public CheckpointSource BeginCheckpoint() => new(this);

    /// <summary>This store takes the other's place: its watchers are told and watch this one from now on.</summary>
    public void AdoptWatchers(MvccStore former)
    {
        Check.That(Watchers.Count == 0);
        Watchers = former.Watchers;
        former.Watchers = new WatchHub();
        Watchers.Moved(former, this);
    }

    /// <summary>A consistent picture of now in the order of revisions, read bit by bit; until it is ended nothing is freed.</summary>
    public RevisionSource BeginRevisions() => new(this, Revision);

    /// <summary>The hash at a revision that is there, made bit by bit; until it is ended nothing is freed.</summary>
    public StoreHash BeginHash(long revision) => new(new RevisionSource(this, revision, unchangedOnly: true));

    /// <summary>Another store has taken its place: as <see cref="Dispose"/>, but not before those who read it bit by bit have ended.</summary>
    public void Retire()
    {
        _retired = true;
        DisposeWhenUnread();
    }

    public void Dispose()
    {
        _restoring?.Abandon();
        _log.Dispose();
        _index.Dispose();
        _pages.Dispose();
    }

    /// <summary>For who reads the store bit by bit: nothing is freed until <see cref="Unpin"/>. By whoever may read now, or the owner.</summary>
    public void Pin() => _compactor.Pin();

    /// <summary>By the owner.</summary>
    public void Unpin()
    {
        _compactor.Unpin();
        DisposeWhenUnread();
    }

    /// <summary>For a checkpoint being read: the numbers, before any record.</summary>
    internal void RestoreBegin(long revision, long compactRevision)
    {
        Check.That(_log.End == 0 && _index.Count == 0);
        _restoring = new RestoreBatch(_index, _beside ?? (static work =>
        {
            work();
            return Task.CompletedTask;
        }));
        _pages.BeginStart();
        Revision = revision;
        _compactor.Restore(compactRevision);
    }

    /// <summary>For a checkpoint being read: one record; a record older than the compaction is in the index only.</summary>
    /// <exception cref="FormatException">It is no record, or does not follow what came before it.</exception>
    internal void RestoreRecord(ReadOnlySpan<byte> bytes, uint sub, bool tombstone, bool inLog)
    {
        KeyValueRecord record = KeyValueRecord.Parse(bytes);
        if (record.Key.IsEmpty)
        {
            throw new FormatException("a record has no key");
        }

        RecordAddress address = _pages.Append(bytes.Length, sub, tombstone, out Span<byte> into);
        bytes.CopyTo(into);
        RevisionItem item = new() { Main = record.ModRevision, Address = address };
        if (inLog)
        {
            _log.Add(record.ModRevision, address);
            _restoring!.Add(item);
        }
        else
        {
            _index.Restore(record.Key, item);
        }
    }

    /// <summary>
    /// After the last record: keys are attached to their leases. A lease that is only in the past of a key may be gone, and one that
    /// should be there and is not is left alone as etcd does. etcd: kvstore.go restore
    /// </summary>
    /// <exception cref="FormatException">The records contradict each other.</exception>
    internal void RestoreEnd(long revision)
    {
        Check.That(revision >= Revision);
        _pages.EndStart();
        _restoring!.Flush();
        _restoring = null;
        Revision = revision;
        if (Leases.Count == 0)
        {
            return;
        }

        KeyCursor cursor = _index.LowerBound([]);
        for (KeyEntry* entry = _index.At(cursor); entry != null; entry = _index.At(cursor))
        {
            long lease = Read(entry->Newest.Address).Lease;
            if (Leases.Contains(lease))
            {
                Leases.Attach(lease, (nint)entry);
            }

            _index.Next(ref cursor);
        }
    }

    private void DisposeWhenUnread()
    {
        if (_retired && _compactor.Pins == 0)
        {
            Dispose();
        }
    }

    private void Bury(KeyEntry* entry)
    {
        long main = Revision + 1;
        KeyValueRecord before = Read(entry->Newest.Address);
        ReadOnlySpan<byte> key = before.Key;
        ChangeLease(entry, before.Lease, 0);
        int size = KeyValueRecord.SizeOf(key.Length, 0, 0, main, 0, 0);
        RecordAddress address = _pages.Append(size, NextSub, tombstone: true, out Span<byte> into);
        KeyValueRecord.Write(into, key, default, 0, main, 0, 0);
        _index.Append(entry, new RevisionItem { Main = main, Address = address });
        _log.Add(main, address);
    }

    private void ChangeLease(KeyEntry* entry, long before, long after)
    {
        if (before != 0 && before != after)
        {
            Leases.Detach(before, (nint)entry);
        }

        if (after != 0)
        {
            Leases.Attach(after, (nint)entry);
        }
    }

    private static bool IsAlive(KeyEntry* entry) => !entry->Newest.Address.IsTombstone;
}

using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Backups;

/// <summary>What came of reading a backup up to a point; the owner disposes it.</summary>
/// <param name="Reached">Whether the log goes on up to the point, or beyond it.</param>
/// <param name="Last">The last entry carried out.</param>
/// <param name="Time">When that was; null when only the whole backup was used.</param>
/// <param name="Until">The last time that the backup and its log know of.</param>
/// <param name="EndsBecause">Why the log goes no further, with the file.</param>
internal sealed record ReplayedBackup(
    BackupInfo From, Applier Content, bool Reached, ulong Last, DateTimeOffset? Time, DateTimeOffset Until, string EndsBecause) : IDisposable
{
    public long Revision => Content.Store.Revision;

    public void Dispose() => Content.Dispose();
}

/// <summary>
/// Reads a whole backup and carries out the logs after it as a member would have. Each log joins on to the one before, so a damaged whole
/// backup in between does no harm. Changes nothing.
/// </summary>
internal sealed class BackupReplay(IDisk disk, RestorePoint point)
{
    private Applier _content = new(new MvccStore(), leaseTtlSecondsMin: 1);
    private ulong _last;
    private long? _time;
    private long _until;
    private bool _reached;
    private bool _gap;

    /// <param name="from">Where to begin; those behind it only give their logs.</param>
    /// <param name="later">Further backups of the same member, in order.</param>
    /// <exception cref="InvalidDataException">The backup is damaged; the message names the file.</exception>
    /// <exception cref="IOException">A file is damaged or cannot be read; the message names it.</exception>
    public ReplayedBackup Run(BackupPlace from, IReadOnlyList<BackupPlace> later)
    {
        BackupInfo info = from.ReadInfo();
        _content.Dispose();
        _content = Load(from, info);
        _last = info.Index;
        _until = info.TakenAt.ToUnixTimeMilliseconds();
        string ends = "";
        try
        {
            foreach (BackupPlace place in (BackupPlace[])[from, .. later])
            {
                ends = ReadLog(place);
                if (_reached || _gap)
                {
                    break;
                }
            }
        }
        catch
        {
            _content.Dispose();
            throw;
        }

        bool there = _reached || point is { Revision: null, Time: null } || _content.Store.Revision == point.Revision;
        DateTimeOffset? time = _time is { } ms ? DateTimeOffset.FromUnixTimeMilliseconds(ms) : null;
        return new ReplayedBackup(info, _content, there, _last, time, DateTimeOffset.FromUnixTimeMilliseconds(_until), ends);
    }

    private Applier Load(BackupPlace place, BackupInfo info)
    {
        using CheckpointReadStream reader = CheckpointFile.Open(disk, place.CheckpointPath);
        (CheckpointHead head, MvccStore store) = CheckpointContent.Read(reader);
        bool fits = head.ClusterId == info.ClusterId && head.Index == info.Index && reader.Tag == info.Index && store.Revision == info.Revision
            && reader.Read(new byte[1]) == 0;
        ContentSum sum = fits ? ContentSum.Of(store, info.Revision, info.CompactRevision, static work => work()) : default;
        if (!fits || sum != info.Sum)
        {
            store.Dispose();
            throw new InvalidDataException(
                $"{place.CheckpointPath} does not hold what {place.InfoPath} says: {(fits ? $"{sum} instead of {info.Sum}" : "another entry, revision or cluster")}");
        }

        Applier content = new(store, leaseTtlSecondsMin: 1);
        content.Restore(head);
        return content;
    }

    /// <summary>Why it goes no further; empty when it simply ends.</summary>
    private string ReadLog(BackupPlace place)
    {
        if (!Directory.Exists(place.LogDirectory))
        {
            _gap = true;
            return $"{place.LogDirectory} is missing";
        }

        try
        {
            return Read(place);
        }
        catch (CorruptLogException e)
        {
            // What came before was carried out, and may be all that is wanted. Its own advice is for a member's own files.
            _gap = true;
            return $"{e.File} is damaged at offset {e.Offset}: {e.Reason}";
        }
    }

    private string Read(BackupPlace place)
    {
        long? time = null;
        string gap = "";
        WalRecovery read = WriteAheadLog.Read(disk, place.LogDirectory, BackupPlace.LogOptions, record =>
        {
            if (_reached || _gap)
            {
                return;
            }

            if (record.Type == BackupPlace.TimeType)
            {
                time = BackupPlace.ToMilliseconds(record);
                _until = Math.Max(_until, time.Value);
                _reached = point.Time is { } until && time > until.ToUnixTimeMilliseconds();
                return;
            }

            Entry entry = LogRecords.ToEntry(record);
            if (entry.Index.Value > _last + 1)
            {
                _gap = true;
                gap = $"entries {_last + 1} to {entry.Index.Value - 1} are missing before what {place.LogDirectory} has";
                return;
            }

            if (entry.Index.Value == _last + 1)
            {
                Take(entry, time);
            }
        });
        return gap.Length > 0 ? gap
            : read.TornFile is not null ? $"{read.TornFile} is cut off at offset {read.TornOffset}"
            : "";
    }

    private void Take(Entry entry, long? time)
    {
        if (point.Revision is { } wanted && _content.Store.Revision >= wanted)
        {
            // What follows makes no revision up to the wanted one, or belongs to a later one.
            _reached = true;
            return;
        }

        if (entry.Kind == EntryKind.Normal && !entry.Data.IsEmpty)
        {
            _content.Replay(Command.Decode(entry.Data.Span), entry.Index.Value);
        }

        (_last, _time) = (entry.Index.Value, time ?? _time);
    }
}

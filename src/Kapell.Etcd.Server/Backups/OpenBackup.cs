using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Backups;

/// <summary>A backup whose log is being written.</summary>
internal sealed class OpenBackup : IDisposable
{
    private readonly WriteAheadLog _log;
    private bool _dirty;
    private long _time;
    private uint? _lastSum; // Of the record of the last entry, when it is in the log.

    private OpenBackup(BackupPlace place, WriteAheadLog log, ulong last) => (Place, _log, Last) = (place, log, last);

    public BackupPlace Place { get; }

    /// <summary>The last entry that it has.</summary>
    public ulong Last { get; private set; }

    public static OpenBackup Begin(IDisk disk, BackupPlace place)
    {
        disk.CreateDirectory(place.Directory);
        WriteAheadLog log = WriteAheadLog.Open(
            disk, place.LogDirectory, BackupPlace.LogOptions, _ => throw new InvalidDataException($"{place.LogDirectory} is not empty"));
        return new OpenBackup(place, log, place.Index);
    }

    /// <exception cref="CorruptLogException">The log is damaged before its end.</exception>
    /// <exception cref="InvalidDataException">A record is none of ours.</exception>
    public static OpenBackup GoOn(IDisk disk, BackupPlace place)
    {
        ulong last = place.Index;
        long time = 0;
        uint? sum = null;
        WriteAheadLog log = WriteAheadLog.Open(disk, place.LogDirectory, BackupPlace.LogOptions, record =>
        {
            if (record.Type == BackupPlace.TimeType)
            {
                time = BackupPlace.ToMilliseconds(record);
            }
            else if (record.Tag > last)
            {
                (last, sum) = (record.Tag, Crc32C.Compute(record.Payload.Span));
            }
        });
        return new OpenBackup(place, log, last) { _time = time, _lastSum = sum };
    }

    /// <summary>
    /// Whether its last entry is this one, which has the same index. Terms alone say little, as a cluster that was founded anew counts them
    /// from the start too; but no two commands have the same number.
    /// </summary>
    /// <param name="wholeTerm">That of the entry at which the whole backup was taken, for when nothing came after it.</param>
    public bool EndsWith(Entry entry, ulong wholeTerm) => entry.Index.Value == Last
        && (_lastSum is { } sum ? sum == Crc32C.Compute(BackupPlace.Record(entry).Payload.Span) : entry.Term.Value == wholeTerm);

    /// <summary>What it has already is left out; false when something is missing before the entries.</summary>
    public bool TryAppend(IReadOnlyList<Entry> entries, long time)
    {
        if (entries[0].Index.Value > Last + 1)
        {
            return false;
        }

        List<WalRecord> records = [BackupPlace.TimeMark(time)];
        foreach (Entry entry in entries.Where(e => e.Index.Value > Last))
        {
            records.Add(BackupPlace.Record(entry));
            Last = entry.Index.Value;
        }

        if (records.Count > 1)
        {
            _log.Append(records);
            _dirty = true;
            _time = Math.Max(_time, time);
            _lastSum = Crc32C.Compute(records[^1].Payload.Span);
        }

        return true;
    }

    /// <summary>Nothing else was applied until this time.</summary>
    public void Mark(long time)
    {
        // What was appended since says it already.
        if (time > _time)
        {
            _log.Append([BackupPlace.TimeMark(time)]);
            _dirty = true;
            _time = time;
        }
    }

    public void Sync()
    {
        if (_dirty)
        {
            _log.Sync();
            _dirty = false;
        }
    }

    public void Dispose() => _log.Dispose();
}

using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Backups;

/// <summary>A backup whose log is being written.</summary>
internal sealed class OpenBackup : IDisposable
{
    private readonly WriteAheadLog _log;
    private bool _dirty;

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
    public static OpenBackup GoOn(IDisk disk, BackupPlace place)
    {
        ulong last = place.Index;
        WriteAheadLog log = WriteAheadLog.Open(disk, place.LogDirectory, BackupPlace.LogOptions, record => last = Math.Max(last, record.Tag));
        return new OpenBackup(place, log, last);
    }

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
        }

        return true;
    }

    /// <summary>Nothing else was applied until this time.</summary>
    public void Mark(long time)
    {
        _log.Append([BackupPlace.TimeMark(time)]);
        _dirty = true;
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

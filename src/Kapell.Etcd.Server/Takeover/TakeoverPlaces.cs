using System.Text;
using Kapell.Etcd.Server.Hosting;
using Kapell.Storage;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// Where the old files lie, where the new ones are made, and how they change places. The new member is made beside the old one
/// (<c>member.takeover</c>; its log below a dedicated directory of the log, where there is one). A file <c>complete</c> in it, on the disk, is
/// the point of no return: before it an interrupted takeover is thrown away and begun anew, after it the renaming is brought to its end at
/// the next start. The old files keep their bytes and get another name.
/// </summary>
internal sealed class TakeoverPlaces
{
    private const string Member = "member";
    private const string Staging = "member.takeover";
    private const string Old = "member.etcd";
    private const string OldLog = "etcd";
    private const string StagingLog = "takeover";
    private readonly IDisk _disk;
    private readonly string _data;
    private readonly string? _log;

    public TakeoverPlaces(IDisk disk, ReplicaSettings settings) =>
        (_disk, _data, _log) = (disk, settings.DataDirectory, settings.DedicatedWalDirectory);

    public string Snapshots => Path.Combine(_data, Member, "snap");

    public string Database => Path.Combine(Snapshots, "db");

    public string Log => _log ?? Path.Combine(_data, Member, "wal");

    public string NewSnapshots => Path.Combine(_data, Staging, "snap");

    public string NewLog => _log is null ? Path.Combine(_data, Staging, "wal") : Path.Combine(_log, StagingLog);

    private string Marker => Path.Combine(_data, Staging, "complete");

    /// <summary>A takeover was made, and not all of it has its name yet.</summary>
    public bool IsComplete => File.Exists(Marker);

    public bool HasEtcdLog => Directory.Exists(Log) && EtcdLogReader.Find(_disk, Log).Any();

    public bool HasOwnLog => Directory.Exists(Log) && _disk.List(Log).Any(static n => n.Length == 20 && n.EndsWith(".wal", StringComparison.Ordinal));

    public bool HasDatabase => File.Exists(Database);

    /// <summary>Throws away what an interrupted takeover left.</summary>
    public void Discard()
    {
        foreach (string left in new[] { Path.Combine(_data, Staging), NewLog }.Where(Directory.Exists))
        {
            Directory.Delete(left, recursive: true);
        }
    }

    /// <summary>The new member is whole and on the disk: from here on it is the one that counts.</summary>
    public void Complete()
    {
        string names = $"{FreeName(_data, Old)}\n{(_log is null ? "" : FreeName(_log, OldLog))}\n";
        if (_log is not null)
        {
            _disk.SyncDirectory(_log);
        }

        _disk.SyncDirectory(Path.GetDirectoryName(Marker)!);
        string temporary = Marker + ".tmp";
        using (IDiskFile file = _disk.Open(temporary, DiskOpen.Create))
        {
            file.Write(0, Encoding.UTF8.GetBytes(names));
            file.Flush();
        }

        _disk.Rename(temporary, Marker);
        _disk.SyncDirectory(Path.GetDirectoryName(Marker)!);
        _disk.SyncDirectory(_data);
    }

    /// <summary>Gives everything its name; may be done again after a crash at any place of it. Where the old files are now.</summary>
    public IReadOnlyList<string> Finish()
    {
        string[] names = File.ReadAllLines(Marker);
        string old = Path.Combine(_data, names[0]);
        string member = Path.Combine(_data, Member);
        if (Directory.Exists(member) && !Directory.Exists(old))
        {
            Directory.Move(member, old);
            _disk.SyncDirectory(_data);
        }

        List<string> places = [old];
        if (_log is not null)
        {
            places.Add(Path.Combine(_log, names[1]));
            ExchangeLogs(_log, places[^1]);
        }

        Directory.Move(Path.Combine(_data, Staging), member);
        _disk.SyncDirectory(_data);
        _disk.Delete(Path.Combine(member, Path.GetFileName(Marker)));
        return places;
    }

    private void ExchangeLogs(string log, string old)
    {
        _disk.CreateDirectory(old);
        if (!Directory.Exists(NewLog))
        {
            return;
        }

        // Ours have other names than etcd's, so what was moved by an earlier try is not moved again.
        foreach (string name in _disk.List(log).Where(n => EtcdSegment.Parse(log, n) is not null || !n.EndsWith(".wal", StringComparison.Ordinal)))
        {
            _disk.Rename(Path.Combine(log, name), Path.Combine(old, name));
        }

        _disk.SyncDirectory(old);
        foreach (string name in _disk.List(NewLog))
        {
            _disk.Rename(Path.Combine(NewLog, name), Path.Combine(log, name));
        }

        Directory.Delete(NewLog);
        _disk.SyncDirectory(log);
    }

    private static string FreeName(string directory, string wish)
    {
        string name = wish;
        for (int i = 2; Path.Exists(Path.Combine(directory, name)); i++)
        {
            name = $"{wish}.{i}";
        }

        return name;
    }
}

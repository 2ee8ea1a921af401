using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>Something wrong with a member's files.</summary>
/// <param name="Offset">In the file; null when it is of no one place, and the reason says where.</param>
/// <param name="Next">What to do.</param>
internal sealed record DirectoryFault(string File, long? Offset, string Reason, string Next);

/// <summary>What a member's files hold, as far as they could be read.</summary>
internal sealed record DirectoryFindings
{
    public (ulong Cluster, ulong Member) Identity { get; set; }

    public int Members { get; set; }

    /// <summary>The newest that is whole; null when there is none.</summary>
    public CheckpointInfo? Checkpoint { get; set; }

    public int Checkpoints { get; set; }

    public int Segments { get; set; }

    /// <summary>Entries after the checkpoint; zeros when there are none.</summary>
    public (ulong First, ulong Last) Entries { get; set; }

    public HardState State { get; set; }

    public long Revision { get; set; }

    public long CompactRevision { get; set; }

    public long Keys { get; set; }

    /// <summary>As HashKV gives it at the newest revision.</summary>
    public uint Hash { get; set; }

    /// <summary>What is worth knowing and no fault.</summary>
    public List<string> Notes { get; } = [];

    public List<DirectoryFault> Faults { get; } = [];
}

/// <summary>
/// Reads all files of a member that is not running as a start would, and the older checkpoints too, and carries out what was committed.
/// Changes nothing.
/// </summary>
internal sealed class DirectoryCheck(IDisk disk, ReplicaSettings settings)
{
    private const string Replace = "delete nothing; if the cluster has other members, remove this one, empty its data directory and add it anew; otherwise "
        + "restore the newest snapshot or backup (etcdutl snapshot restore, etcdutl restore)";

    private const string DoWithout = "a start does without it, by another checkpoint and the log, and writes the next one; check the device first (dmesg)";
    private const string Newer = "start the newer version of Kapell that wrote it";

    private readonly DirectoryFindings _found = new();
    private ulong? _cluster;
    private ulong? _member;
    private Term _term;

    public DirectoryFindings Run()
    {
        LoadedCheckpoint? newest = ReadCheckpoints();
        using Applier content = new(newest?.Store ?? new MvccStore(), leaseTtlSecondsMin: 1);
        int before = _found.Faults.Count;
        try
        {
            ReplicaLoader.LogContent log = ReadLog(newest?.Head);
            if (newest is not null)
            {
                content.Restore(newest.Head);
            }

            Replay(log, newest?.Head, content);
            Describe(content);
        }
        catch (Exception e) when (IsDamage(e))
        {
            Add(settings.WalDirectory, e, Replace);
        }

        if (_found.Faults.Count == before)
        {
            for (int i = 0; i < before; i++)
            {
                _found.Faults[i] = _found.Faults[i] with { Next = _found.Faults[i].Next == Replace ? DoWithout : _found.Faults[i].Next };
            }
        }

        return _found;
    }

    /// <summary>All of them; the newest that is whole is kept.</summary>
    private LoadedCheckpoint? ReadCheckpoints()
    {
        if (!Directory.Exists(settings.CheckpointDirectory))
        {
            return null;
        }

        LoadedCheckpoint? newest = null;
        string shape = CheckpointFile.NameOf(0);
        foreach (string name in disk.List(settings.CheckpointDirectory).Reverse().Where(n => n.Length == shape.Length && n.EndsWith(shape[16..], StringComparison.Ordinal)))
        {
            _found.Checkpoints++;
            string path = Path.Combine(settings.CheckpointDirectory, name);
            if (ReadCheckpoint(path, name) is not { } read)
            {
                continue;
            }

            if (newest is null)
            {
                (newest, _found.Checkpoint) = (read.Content, read.Info);
            }
            else
            {
                read.Content.Store.Dispose();
            }
        }

        return newest;
    }

    private (LoadedCheckpoint Content, CheckpointInfo Info)? ReadCheckpoint(string path, string name)
    {
        LoadedCheckpoint? content = null;
        try
        {
            using CheckpointReadStream reader = CheckpointFile.Open(disk, path);
            content = CheckpointContent.Read(reader);
            reader.CopyTo(Stream.Null); // Reading verifies.
            if (reader.Tag != content.Head.Index || name != CheckpointFile.NameOf(reader.Tag))
            {
                throw new InvalidDataException($"its head is of entry {reader.Tag}, its content of entry {content.Head.Index}: the file was renamed or put together of two");
            }

            MembershipCheck.Verify(content.Head, settings.CheckpointDirectory);
            return (content, new CheckpointInfo(path, reader.Tag, reader.FileBytes));
        }
        catch (Exception e) when (IsDamage(e))
        {
            content?.Store.Dispose();
            Add(path, e, Replace);
            return null;
        }
    }

    private ReplicaLoader.LogContent ReadLog(CheckpointHead? head)
    {
        ReplicaLoader.LogContent log = new(head?.Index ?? 0, head?.Term ?? 0);
        WalRecovery read = WriteAheadLog.Read(disk, settings.WalDirectory, new WalOptions(), record =>
        {
            Follow(record);
            log.Take(record);
        });
        _found.Segments = read.Segments;
        if (read.TornFile is not null)
        {
            _found.Notes.Add($"the log ends in the middle of a record, at offset {read.TornOffset} in {read.TornFile}: normal after a crash, nothing of it was acknowledged, and a start cuts it off");
        }

        _ = log.Judge(head, [], settings);
        _found.Identity = log.Identity ?? default;
        _found.State = log.State;
        _found.Entries = log.Entries.Count == 0 ? default : (log.Entries[0].Index.Value, log.Entries[^1].Index.Value);
        return log;
    }

    /// <summary>What must never change or go back from one record to the next, besides what a start looks at.</summary>
    private void Follow(WalRecord record)
    {
        if (record.Type == LogRecords.IdentityType)
        {
            (ulong cluster, ulong member) = LogRecords.ToIdentity(record);
            if ((_cluster ?? cluster) != cluster || (_member ?? member) != member)
            {
                throw new InvalidDataException(
                    $"the log says first that it is of member {_member:x} of cluster {_cluster:x}, then of member {member:x} of cluster {cluster:x}: segments of two members");
            }

            (_cluster, _member) = (cluster, member);
        }

        if (record.Type == LogRecords.StateType)
        {
            HardState state = LogRecords.ToState(record);
            if (state.Term < _term)
            {
                throw new InvalidDataException($"the log says term {state.Term} after it said {_term}");
            }

            _term = state.Term;
        }
    }

    /// <summary>Carries out what was committed, as a member does; of the rest it only sees that it can be read.</summary>
    private void Replay(ReplicaLoader.LogContent log, CheckpointHead? head, Applier content)
    {
        ulong committed = Math.Max(log.State.Commit.Value, head?.Index ?? 0);
        foreach (Entry entry in log.Entries)
        {
            try
            {
                Take(entry, content, entry.Index.Value <= committed);
            }
            catch (Exception e) when (IsDamage(e))
            {
                throw new InvalidDataException($"entry {entry.Index} of the log cannot be carried out: {e.Message}", e);
            }
        }
    }

    private static void Take(Entry entry, Applier content, bool committed)
    {
        if (entry.Kind == EntryKind.ConfChange)
        {
            if (!ConfChange.TryDecode(entry.Data, out ConfChange change))
            {
                throw new InvalidDataException("it is no change of membership");
            }

            MembershipContext context = MembershipContext.Decode(change.Context);
            if (committed)
            {
                content.Members.Apply(change, context);
            }
        }
        else if (!entry.Data.IsEmpty)
        {
            Command command = Command.Decode(entry.Data.Span);
            if (committed)
            {
                content.Replay(command, entry.Index.Value);
            }
        }
    }

    private void Describe(Applier content)
    {
        MvccStore store = content.Store;
        (_found.Revision, _found.CompactRevision, _found.Keys) = (store.Revision, store.CompactRevision, store.LiveKeyCount);
        _found.Hash = StoreHash.Compute(store, store.Revision);
        _found.Members = content.Members.All.Count;
        ulong self = _found.Identity.Member;
        if (content.Members.Removed.Contains(self))
        {
            _found.Notes.Add($"member {self:x} was removed from its cluster for good: it ends when it is started");
        }
        else if (_found.Members > 0 && content.Members.Find(self) is null)
        {
            _found.Notes.Add($"member {self:x} does not know yet that it was added to its cluster: that comes from the others");
        }
    }

    private static bool IsDamage(Exception e) =>
        e is CorruptLogException or UnknownFormatException or InvalidDataException or InvalidProtocolBufferException or EndOfStreamException;

    private void Add(string file, Exception e, string next) => _found.Faults.Add(e switch
    {
        CorruptLogException damage => new DirectoryFault(damage.File, damage.Offset, damage.Reason, next),
        UnknownFormatException => new DirectoryFault(file, null, e.Message, Newer),
        _ => new DirectoryFault(file, null, e.Message, next),
    });
}

using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Backups;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Etcd.Tests.Replication;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Xunit;

namespace Kapell.Etcd.Tests.Backups;

/// <summary>Any revision and any time of a backup can be had again, and what cannot is said by name.</summary>
public sealed class BackupRestoreTests : IDisposable
{
    private const long Begin = 1_800_000_000_000;
    private readonly string _root = Directory.CreateTempSubdirectory("kapell-backup-").FullName;
    private readonly LoneReplica _one = new();
    private readonly FileDisk _disk = new();
    private readonly Dictionary<long, (uint Hash, long Compacted, long Time)> _history = [];
    private readonly List<string> _warnings = [];
    private readonly List<OpenBackup> _open = [];
    private int _archived;
    private long _time = Begin;
    private int _restored;

    [Fact]
    public void Every_revision_is_restored_as_it_was()
    {
        Work(30);
        Take();
        Work(60);
        Take();
        Work(60);
        Close();
        long oldest = Infos()[0].Revision;
        foreach ((long revision, (uint hash, long compacted, _)) in _history.Where(h => h.Key >= oldest && h.Key % 11 == 0))
        {
            RestoredBackup restored = Restore(new RestorePoint(revision, null));
            Assert.Equal(revision, restored.Revision);
            if (CompactionAt(restored) == compacted)
            {
                Assert.Equal(hash, restored.Hash);
            }
        }

        Assert.Equal(_history.Keys.Max(), Restore(default).Revision);
        Assert.Empty(_warnings);
    }

    /// <summary>Who watched on from a revision that the restored cluster will have again, with other content, hears that it is gone.</summary>
    [Fact]
    public void What_is_restored_may_go_on_at_a_later_revision()
    {
        Take();
        Work(40);
        Close();
        long newest = _history.Keys.Max();
        RestoredBackup restored = Restore(new RestorePoint(newest - 5, null), bump: 1_000_000);
        Assert.Equal((newest - 5, newest - 5 + 1_000_000), (restored.RestoredRevision, restored.Revision));
        Assert.Equal(restored.Revision, CompactionAt(restored));
        Assert.Contains("cannot be raised by", Assert.Throws<InvalidDataException>(() => Restore(default, bump: long.MaxValue)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_time_gives_what_was_applied_until_then()
    {
        Take();
        Work(40);
        Mark();
        Close();
        foreach ((long revision, (_, _, long time)) in _history.Where(static h => h.Key % 5 == 0))
        {
            Assert.Equal(revision, Restore(new RestorePoint(null, DateTimeOffset.FromUnixTimeMilliseconds(time))).Revision);
        }

        InvalidDataException late = Assert.Throws<InvalidDataException>(() => Restore(new RestorePoint(null, DateTimeOffset.FromUnixTimeMilliseconds(_time + 10_000))));
        Assert.Contains("cannot be restored: the backups in", late.Message, StringComparison.Ordinal);
        InvalidDataException early = Assert.Throws<InvalidDataException>(() => Restore(new RestorePoint(null, DateTimeOffset.FromUnixTimeMilliseconds(Begin - 10_000))));
        Assert.Contains("is before the oldest backup", early.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_damaged_whole_backup_is_made_up_for_by_the_one_before()
    {
        Take();
        Work(30);
        Take();
        Work(30);
        Close();
        BackupPlace newest = Places()[^1];
        Damage(newest.CheckpointPath, 400);
        RestoredBackup restored = Restore(new RestorePoint(_history.Keys.Max(), null));
        Assert.Equal(_history.Keys.Max(), restored.Revision);
        Assert.Equal(_history[restored.Revision].Hash, restored.Hash);
        Assert.Contains(newest.CheckpointPath, Assert.Single(_warnings), StringComparison.Ordinal);
    }

    [Fact]
    public void Damage_in_the_log_is_named_with_file_and_offset()
    {
        Take();
        Work(30);
        Close();
        string segment = Path.Combine(Places()[0].LogDirectory, "0000000000000001.wal");
        Damage(segment, 700);
        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => Restore(new RestorePoint(_history.Keys.Max(), null)));
        Assert.Contains($"{segment} is damaged at offset ", refused.Message, StringComparison.Ordinal);

        // What lies before it is good.
        Assert.Equal(3, Restore(new RestorePoint(3, null)).Revision);
    }

    [Fact]
    public void A_log_that_is_cut_off_serves_up_to_there_and_is_named_beyond()
    {
        Take();
        Work(60);
        Close();
        string segment = Path.Combine(Places()[0].LogDirectory, "0000000000000001.wal");
        using (FileStream file = new(segment, FileMode.Open))
        {
            byte[] bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            file.SetLength(bytes.AsSpan().LastIndexOfAnyExcept((byte)0) / 2);
        }

        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => Restore(new RestorePoint(_history.Keys.Max(), null)));
        Assert.Contains($"{segment} is damaged at offset ", refused.Message, StringComparison.Ordinal);
        RestoredBackup restored = Restore(default);
        Assert.InRange(restored.Revision, 10, 50);
        Assert.Equal(_history[restored.Revision].Hash, restored.Hash);
        Assert.Contains("is damaged at offset", Assert.Single(_warnings), StringComparison.Ordinal);
        Assert.Equal(5, Restore(new RestorePoint(5, null)).Revision);
    }

    [Fact]
    public void A_gap_between_two_logs_is_named()
    {
        Take();
        Work(20);
        long before = _history.Keys.Max();
        LeaveOut(20);
        Take();
        Work(20);
        Close();
        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => Restore(new RestorePoint(before + 5, null)));
        Assert.Contains("are missing before what", refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, Restore(new RestorePoint(before, null)).Revision);
        Assert.Equal(_history.Keys.Max(), Restore(default).Revision);
    }

    [Fact]
    public void Of_several_members_the_one_whose_log_goes_furthest_is_taken()
    {
        Work(5, keep: false);
        Take(member: 2);
        Work(20);
        Take(member: 1, closes: false);
        Work(5);
        long first = _time;
        OpenBackup died = _open[^1];
        died.Sync();
        died.Dispose();
        _open.Remove(died);
        Work(20);
        DateTimeOffset second = DateTimeOffset.FromUnixTimeMilliseconds(_time);
        Mark();
        Close();
        long newest = _history.Keys.Max();
        Assert.Equal(newest, Restore(default, _root).Revision);
        Assert.Equal(newest, Restore(new RestorePoint(null, second), _root).Revision);
        long then = _history.First(h => h.Value.Time == first).Key;
        Assert.Equal(then, Restore(new RestorePoint(null, DateTimeOffset.FromUnixTimeMilliseconds(first)), _root).Revision);
        Assert.Equal(newest - 1, Restore(new RestorePoint(newest - 1, null), _root).Revision);
        Assert.Empty(_warnings);
    }

    [Fact]
    public void A_log_goes_on_after_a_restart_where_it_ended()
    {
        Take();
        Work(10);
        Close();
        using OpenBackup again = OpenBackup.GoOn(_disk, Places()[0]);
        Assert.Equal(_one.Applied[_archived - 1].Index.Value, again.Last);
        Assert.True(again.TryAppend([_one.Applied[_archived - 2], _one.Applied[_archived - 1]], _time));
        Assert.Equal(_one.Applied[_archived - 1].Index.Value, again.Last);
        Work(3, keep: false);
        Assert.False(again.TryAppend([_one.Applied[^1]], _time));
    }

    public void Dispose()
    {
        Close();
        _one.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    private void Work(int steps, bool keep = true)
    {
        for (int i = 0; i < steps; i++)
        {
            _time += 100;
            int n = _one.Applied.Count;
            switch (n % 9)
            {
                case 3:
                    _one.Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = n, TTL = 100 });
                    break;
                case 5:
                    _one.Propose(CommandKind.DeleteRange, new DeleteRangeRequest { Key = Bytes($"k{n % 5}") });
                    break;
                case 7 when n % 5 == 0:
                    _one.Propose(CommandKind.Compact, new CompactionRequest { Revision = Math.Max(1, _one.Store.Revision - 5) });
                    break;
                default:
                    _one.Propose(CommandKind.Put, new PutRequest { Key = Bytes($"k{n % 7}"), Value = Bytes($"value {n}") });
                    break;
            }

            if (keep)
            {
                Archive();
            }
        }
    }

    private void LeaveOut(int steps)
    {
        Work(steps, keep: false);
        _archived = _one.Applied.Count;
        _history.Remove(_one.Store.Revision);
    }

    private void Archive()
    {
        Entry[] entries = [.. _one.Applied.Skip(_archived)];
        _archived = _one.Applied.Count;
        _open.ForEach(o => Assert.True(o.TryAppend(entries, _time)));
        _history[_one.Store.Revision] = (StoreHash.Compute(_one.Store, _one.Store.Revision), _one.Store.CompactRevision, _time);
    }

    private void Mark() => _open.ForEach(o => o.Mark(_time += 100));

    private string Member => BackupPlace.MemberDirectory(_root, _one.Replica.ClusterId, 1);

    private IReadOnlyList<BackupPlace> Places() => BackupPlace.Of(Member);

    private BackupInfo[] Infos() => [.. Places().Select(static p => p.ReadInfo())];

    /// <summary>As the keeper does it, without its threads.</summary>
    private void Take(ulong member = 1, bool closes = true)
    {
        if (closes)
        {
            Close();
        }

        CheckpointHead head = CheckpointContent.HeadOf(_one.Replica);
        BackupPlace place = BackupPlace.New(BackupPlace.MemberDirectory(_root, head.ClusterId, member), head.Index);
        _open.Add(OpenBackup.Begin(_disk, place));
        CheckpointSource source = _one.Store.BeginCheckpoint();
        using CheckpointWriteStream writer = CheckpointFile.Create(_disk, place.Directory, head.Index);
        CheckpointContent.Write(writer, head, source, static work => work(), CancellationToken.None);
        writer.Commit();
        ContentSum sum = ContentSum.Of(_one.Store, source.Revision, source.CompactRevision, static work => work());
        place.WriteInfo(_disk, new BackupInfo(
            head.ClusterId, member, head.Index, head.Term, source.Revision, source.CompactRevision, DateTimeOffset.FromUnixTimeMilliseconds(_time), sum));
        source.End();
        _archived = _one.Applied.Count;
    }

    private void Close()
    {
        _open.ForEach(static o =>
        {
            o.Sync();
            o.Dispose();
        });
        _open.Clear();
    }

    private RestoredBackup Restore(RestorePoint point, string? root = null, long bump = 0)
    {
        RestoreSettings settings = new()
        {
            DataDirectory = Path.Combine(_root, "restored", $"{_restored++}"), Name = "one", PeerUrls = ["http://one:1"],
            InitialCluster = [("one", ["http://one:1"])], ClusterToken = "t", RevisionBump = bump,
        };
        return BackupRestore.Run(_disk, root ?? Member, point, settings, _warnings.Add);
    }

    private static long CompactionAt(RestoredBackup restored)
    {
        ReplicaSettings settings = new() { DataDirectory = restored.Directory };
        using CheckpointReadStream reader = CheckpointFile.Open(new FileDisk(), CheckpointFile.NewestPath(new FileDisk(), settings.CheckpointDirectory)!);
        (_, MvccStore store) = CheckpointContent.Read(reader);
        using (store)
        {
            return store.CompactRevision;
        }
    }

    private static void Damage(string path, int offset)
    {
        using FileStream file = new(path, FileMode.Open);
        file.Position = offset;
        int there = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(there ^ 0x10));
    }

    private static ByteString Bytes(string text) => ByteString.CopyFromUtf8(text);
}

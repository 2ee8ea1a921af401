using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;
using Xunit;

namespace Kapell.Etcd.Tests.Storage;

/// <summary><c>etcdutl verify</c>, and what <c>etcdutl snapshot restore</c> makes of a directory.</summary>
public sealed class DirectoryCheckTests : IDisposable
{
    private const ulong Cluster = 9;
    private static readonly Member Self = new() { ID = 1, Name = "m1", PeerURLs = { "http://m1:1" } };
    private readonly string _root = Directory.CreateTempSubdirectory("kapell-verify-").FullName;
    private readonly FileDisk _disk = new();
    private readonly ReplicaSettings _settings;

    public DirectoryCheckTests() => _settings = new ReplicaSettings { DataDirectory = Path.Combine(_root, "data") };

    private string Segment => Path.Combine(_settings.WalDirectory, "0000000000000001.wal");

    private string Checkpoint => Path.Combine(_settings.CheckpointDirectory, CheckpointFile.NameOf(3));

    [Fact]
    public async Task What_a_whole_directory_holds_is_said_and_nothing_is_changed()
    {
        (long revision, uint hash) = Write([Put(4, "c"), Put(5, "d"), Put(6, "e")], commit: 5);
        Dictionary<string, byte[]> before = Files();
        (int code, string said) = await VerifyAsync();
        Assert.Equal(0, code);
        Assert.Contains("member      1 of cluster 9, which has 1", said, StringComparison.Ordinal);
        Assert.Contains("checkpoint  at entry 3, ", said, StringComparison.Ordinal);
        Assert.Contains("log         entries 4 to 6, term 2, committed 5; segments: 1", said, StringComparison.Ordinal);
        Assert.Contains($"content     revision {revision}, compacted 0, 4 keys, hash {hash}", said, StringComparison.Ordinal);

        (code, said) = await VerifyAsync("-w", "json");
        Assert.Equal(0, code);
        JsonElement json = JsonDocument.Parse(said).RootElement;
        Assert.True(json.GetProperty("whole").GetBoolean());
        Assert.Equal((hash, 6UL), (json.GetProperty("hash").GetUInt32(), json.GetProperty("lastEntry").GetUInt64()));
        Assert.Equal(before, Files());
    }

    [Fact]
    public async Task A_flipped_byte_of_the_log_is_named()
    {
        Write([Put(4, "c"), Put(5, "d")], commit: 5);
        Flip(Segment, 110); // In the payload of the first record.
        (int code, string said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains($"Error: {Segment} is damaged at offset ", said, StringComparison.Ordinal);
        Assert.Contains("next: delete nothing; if the cluster has other members, remove this one", said, StringComparison.Ordinal);
        Assert.DoesNotContain("is whole", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_flipped_byte_of_a_checkpoint_is_named()
    {
        Write([Put(4, "c"), Put(5, "d")], commit: 5);
        File.Copy(Checkpoint, Path.Combine(_root, "kept"));
        Flip(Checkpoint, 100);
        (int code, string said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains($"Error: {Checkpoint} is damaged at offset ", said, StringComparison.Ordinal);
        Assert.Contains("the log begins at entry 4, but the newest checkpoint ends at 0", said, StringComparison.Ordinal);

        // An older one, when a newer one and the log have all.
        File.Move(Checkpoint, Path.Combine(_settings.CheckpointDirectory, CheckpointFile.NameOf(2)));
        File.Copy(Path.Combine(_root, "kept"), Checkpoint);
        (code, said) = await VerifyAsync("--write-out=json");
        Assert.Equal(1, code);
        JsonElement fault = Assert.Single(JsonDocument.Parse(said).RootElement.GetProperty("faults").EnumerateArray());
        Assert.EndsWith(CheckpointFile.NameOf(2), fault.GetProperty("file").GetString(), StringComparison.Ordinal);
        Assert.True(fault.GetProperty("offset").GetInt64() > 0);
        Assert.StartsWith("a start does without it", fault.GetProperty("next").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cut_tail_is_no_fault()
    {
        Write([Put(4, "c"), Put(5, "d")], commit: 5);
        using (WriteAheadLog log = WriteAheadLog.Open(_disk, _settings.WalDirectory, new WalOptions(), static _ => { }))
        {
            log.Append([LogRecords.Of(Put(6, new string('e', 5000)))]);
            log.Sync();
        }

        Cut(Segment, 3000);
        (int code, string said) = await VerifyAsync();
        Assert.True(code == 0, said);
        Assert.Contains("entries 4 to 5, term 2, committed 5", said, StringComparison.Ordinal);
        Assert.Contains($"in {Segment}: normal after a crash", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_was_committed_and_is_gone_is_missed()
    {
        Write([Put(4, "c"), Put(5, "d")], commit: 7);
        (int code, string said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("entry 7 was committed, but the log ends at 5", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_log_of_another_member_is_seen()
    {
        Write([Put(4, "c")], commit: 4);
        using (WriteAheadLog log = WriteAheadLog.Open(_disk, _settings.WalDirectory, new WalOptions(), static _ => { }))
        {
            log.Append([LogRecords.Identity(Cluster, 2)]);
            log.Sync();
        }

        (int code, string said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("the log says first that it is of member 1 of cluster 9, then of member 2", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_directory_of_a_member_and_one_in_use_are_refused()
    {
        (int code, string said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("data holds no member: is --data-dir that of one?", said, StringComparison.Ordinal);
        Directory.CreateDirectory(_settings.WalDirectory);
        await File.WriteAllBytesAsync(Path.Combine(_settings.WalDirectory, "0000000000000000-0000000000000000.wal"), new byte[64], TestContext.Current.CancellationToken);
        (code, said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("data is of etcd, not of Kapell", said, StringComparison.Ordinal);
        using DirectoryLock held = DirectoryLock.Acquire(_settings.DataDirectory);
        (code, said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("is in use by process", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_restored_directory_knows_its_token_and_has_its_log_where_it_was_wanted()
    {
        string wal = Path.Combine(_root, "wal");
        RestoreSettings restore = new()
        {
            DataDirectory = _settings.DataDirectory,
            WalDirectory = wal,
            Name = "m1",
            PeerUrls = ["http://m1:1"],
            InitialCluster = [("m1", ["http://m1:1"])],
            ClusterToken = "mine",
        };
        using MvccStore store = new();
        SnapshotRestore.VerifySettings(restore);
        SnapshotRestore.Write(_disk, restore, store, new AuthTables());
        InvalidDataException refused = Assert.Throws<InvalidDataException>(() => FoundingToken.Verify(_disk, _settings.DataDirectory, "other", "etcd-cluster"));
        Assert.Contains("founded with --initial-cluster-token=mine, not other", refused.Message, StringComparison.Ordinal);
        FoundingToken.Verify(_disk, _settings.DataDirectory, "mine", "etcd-cluster");
        Assert.False(Directory.Exists(_settings.WalDirectory));
        (int code, string said) = await VerifyAsync("--wal-dir", wal);
        Assert.True(code == 0, said);
        (code, said) = await VerifyAsync();
        Assert.Equal(1, code);
        Assert.Contains("is the log elsewhere (--wal-dir)?", said, StringComparison.Ordinal);
        refused = Assert.Throws<InvalidDataException>(() => SnapshotRestore.VerifySettings(restore with { DataDirectory = Path.Combine(_root, "second") }));
        Assert.Equal($"wal-dir \"{wal}\" not empty or could not be read", refused.Message);
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private static Entry Put(ulong index, string key) => new(new LogIndex(index), new Term(2), EntryKind.Normal, Command(key).Encode());

    private static Command Command(string key) => new(0, CommandKind.Put, new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8("v") });

    /// <summary>A member with a checkpoint of two keys at entry 3, and these entries after it. Gives what it must hold when they are carried out.</summary>
    private (long Revision, uint Hash) Write(Entry[] entries, ulong commit)
    {
        using Applier content = new(new MvccStore(), leaseTtlSecondsMin: 1);
        content.Apply(Command("a"), default, wantsReply: false);
        content.Apply(Command("b"), default, wantsReply: false);
        CheckpointHead head = new() { ClusterId = Cluster, Index = 3, Term = 1, Auth = new AuthTables() };
        head.Voters.Add(Self.ID);
        head.Members.Add(Self);
        LogHead log = new() { Identity = (Cluster, Self.ID), State = new HardState(new Term(2), MemberId.None, new LogIndex(commit)) };
        MemberFiles.Write(_disk, (_settings.CheckpointDirectory, _settings.WalDirectory), 1 << 20, head, content.Store, log, entries);
        foreach (Entry entry in entries.Where(e => e.Index.Value <= commit))
        {
            content.Apply(Server.Replication.Command.Decode(entry.Data.Span), default, wantsReply: false);
        }

        return (content.Store.Revision, StoreHash.Compute(content.Store, content.Store.Revision));
    }

    private async Task<(int Code, string Said)> VerifyAsync(params string[] more)
    {
        using StringWriter said = new();
        int code = await new EtcdutlCommand(said, said).RunAsync(["verify", "--data-dir", _settings.DataDirectory, .. more]);
        return (code, said.ToString());
    }

    private Dictionary<string, byte[]> Files() =>
        Directory.EnumerateFiles(_root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToDictionary(static f => f, File.ReadAllBytes);

    private static void Flip(string path, int offset)
    {
        byte[] bytes = File.ReadAllBytes(path);
        bytes[offset] ^= 0x10;
        File.WriteAllBytes(path, bytes);
    }

    /// <summary>As a crash in the middle of a write leaves it: the end is zeros still.</summary>
    private static void Cut(string path, int bytes)
    {
        byte[] all = File.ReadAllBytes(path);
        int end = all.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
        all.AsSpan(end - bytes, bytes).Clear();
        File.WriteAllBytes(path, all);
    }
}

using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Base;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Metrics;
using Kapell.Etcd.Server.Peers;
using Kapell.Etcd.Server.Replication;
using Kapell.Etcd.Server.Snapshots;
using Kapell.Fuzz.Inputs;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;

namespace Kapell.Fuzz.Targets;

/// <summary>A member's directory on a disk in memory, made by the product itself.</summary>
internal static class SampleMember
{
    public const string Checkpoints = "data/member/snap";
    public const string Wal = "data/member/wal";
    public const int SegmentBytes = 32 << 10;

    public static ReplicaSettings Settings { get; } = new() { DataDirectory = "data", SegmentBytes = SegmentBytes };

    public static LoadedReplica Load(MemoryDisk disk, bool found) => ReplicaLoader.Load(disk, Settings with { Founding = found ? Founding : null }, new Prng(1));

    /// <summary>Some pairs, a lease, a user; and the log that made them.</summary>
    public static (MemoryDisk Disk, Replica Replica) Make()
    {
        MemoryDisk disk = new(new Prng(3));
        LoadedReplica loaded = Load(disk, found: true);
        Waiters waiters = new();
        void Turn()
        {
            while (loaded.Replica.Raft.HasReady)
            {
                Ready ready = loaded.Replica.TakeReady();
                LogBatch.Append(loaded.Log, loaded.LogHead, [ready]);
                loaded.Log.Sync();
                if (ready.NeedsPersist)
                {
                    loaded.Replica.Raft.Persisted(ready.Number);
                }

                loaded.Replica.Apply(ready.Committed, waiters);
            }
        }

        void Propose(CommandKind kind, IMessage request)
        {
            loaded.Replica.Raft.Propose(new Command(1, kind, request).Encode());
            Turn();
        }

        Turn();
        loaded.Replica.Raft.Campaign();
        Turn();
        Propose(CommandKind.LeaseGrant, new LeaseGrantRequest { ID = 77, TTL = 60 });
        for (int i = 0; i < 12; i++)
        {
            Propose(CommandKind.Put, new PutRequest { Key = ByteString.CopyFromUtf8($"k{i % 5}"), Value = ByteString.CopyFrom(new byte[i * 9]), Lease = i % 3 == 0 ? 77 : 0 });
        }

        Propose(CommandKind.DeleteRange, new DeleteRangeRequest { Key = ByteString.CopyFromUtf8("k2") });
        Propose(CommandKind.UserAdd, new AuthUserAddRequest { Name = "u", HashedPassword = "x" });
        loaded.Log.Dispose();
        return (disk, loaded.Replica);
    }

    public static byte[] CheckpointContentOf(Replica replica)
    {
        MemoryStream content = new();
        CheckpointSource source = replica.Applier.Store.BeginCheckpoint();
        CheckpointContent.Write(content, CheckpointContent.HeadOf(replica), source, static work => work(), CancellationToken.None);
        source.End();
        return content.ToArray();
    }

    private static Founding Founding { get; } = new(9, 1, [new Member { ID = 1, Name = "one" }]);

    private sealed class Waiters : IReplicaWaiters
    {
        public bool IsWaiting(ulong requestId) => false;

        public void Complete(ulong requestId, ApplyOutcome outcome)
        {
            // Nobody waits.
        }
    }
}

/// <summary>
/// A checkpoint as another member sends it. In half of the inputs the content is what is wrong and the checksums around it are right; in
/// the others the file is.
/// </summary>
internal sealed class CheckpointTarget : FuzzTarget
{
    public CheckpointTarget() : base("checkpoint")
    {
        (_, Replica replica) = SampleMember.Make();
        byte[] content = SampleMember.CheckpointContentOf(replica);
        MemoryDisk disk = Write(content, replica.AppliedPosition.Index.Value);
        Corpus = [[1, .. content], [0, .. disk.Content(disk.Paths.Single())]];
        replica.Dispose();
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    // A record says its length before it comes.
    public override long AllocatedMax(int inputBytes) => 128L << 20;

    public override bool Run(byte[] input)
    {
        MemoryDisk disk = new(new Prng(1));
        byte[] sent = input.Length == 0 ? [] : input[1..];
        if (input.Length > 0 && input[0] == 1)
        {
            MemoryDisk written = Write(sent, 17);
            sent = written.Content(written.Paths.Single());
        }

        SnapshotReceiver receiver = new(disk, SampleMember.Checkpoints, 9, new MemberTimes(TimeProvider.System), TimeProvider.System);
        InstallSnapshot message = new(new MemberId(2), new MemberId(1), new Term(1), new SnapshotMetadata(default, new ConfState()));
        try
        {
            (_, MvccStore store, _) = receiver.TakeAsync(message, new MemoryStream(sent), CancellationToken.None).GetAwaiter().GetResult();
            store.Dispose();
            return true;
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            return !disk.Paths.Any() ? false : throw new InvalidOperationException("a refused checkpoint left a file", e);
        }
    }

    private static MemoryDisk Write(byte[] content, ulong tag)
    {
        MemoryDisk disk = new(new Prng(1));
        using CheckpointWriteStream stream = CheckpointFile.Create(disk, "c", tag);
        stream.Write(content);
        stream.Commit();
        return disk;
    }
}

/// <summary>A member starts from a damaged log: the file is wrong, or the records in it are and their checksums right.</summary>
internal sealed class LogTarget : FuzzTarget
{
    private readonly byte[] _segment;

    public LogTarget() : base("write-ahead-log")
    {
        (MemoryDisk disk, Replica replica) = SampleMember.Make();
        replica.Dispose();
        _segment = disk.Content(disk.Paths.Single(static p => p.Contains("/wal/", StringComparison.Ordinal)));
        int used = _segment.AsSpan().LastIndexOfAnyExcept((byte)0) + 1;
        List<byte> records = [1];
        using WriteAheadLog log = WriteAheadLog.Open(disk, SampleMember.Wal, new WalOptions { SegmentBytes = SampleMember.SegmentBytes }, record =>
        {
            byte[] head = new byte[11];
            head[0] = record.Type;
            BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(1), record.Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(9), (ushort)record.Payload.Length);
            records.AddRange([.. head, .. record.Payload.Span]);
        });
        Corpus = [[0, .. _segment[..used]], [.. records]];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        MemoryDisk disk = new(new Prng(1));
        try
        {
            if (input.Length > 0 && input[0] == 1)
            {
                WriteRecords(disk, input.AsSpan(1));
            }
            else
            {
                byte[] file = new byte[Math.Max(_segment.Length, input.Length)];
                input.AsSpan(Math.Min(1, input.Length)).CopyTo(file);
                disk.Overwrite($"{SampleMember.Wal}/{Path.GetFileName(SegmentName)}", file);
            }

            LoadedReplica loaded = SampleMember.Load(disk, found: false);
            loaded.Log.Dispose();
            loaded.Replica.Dispose();
            return true;
        }
        catch (Exception e) when (e is IOException or InvalidDataException)
        {
            return false;
        }
    }

    private static string SegmentName { get; } = NameOfFirst();

    private static string NameOfFirst()
    {
        MemoryDisk disk = new(new Prng(1));
        WriteAheadLog.Open(disk, "w", new WalOptions { SegmentBytes = 4096 }, static _ => { }).Dispose();
        return disk.Paths.Single();
    }

    private static void WriteRecords(MemoryDisk disk, ReadOnlySpan<byte> input)
    {
        using WriteAheadLog log = WriteAheadLog.Open(disk, SampleMember.Wal, new WalOptions { SegmentBytes = 1 << 20 }, static _ => { });
        List<WalRecord> records = [];
        while (input.Length >= 11)
        {
            int length = Math.Min(BinaryPrimitives.ReadUInt16LittleEndian(input[9..]), input.Length - 11);
            records.Add(new WalRecord(Math.Max((byte)1, input[0]), BinaryPrimitives.ReadUInt64LittleEndian(input[1..]), input.Slice(11, length).ToArray()));
            input = input[(11 + length)..];
        }

        log.Append(records);
        log.Sync();
    }
}

/// <summary>Snapshot files of etcd: status, content, users.</summary>
internal sealed class DatabaseTarget : FuzzTarget
{
    public DatabaseTarget() : base("database-file")
    {
        (_, Replica replica) = SampleMember.Make();
        MemoryDisk disk = new(new Prng(1));
        using (IDiskFile file = disk.Open("db", DiskOpen.Create))
        {
            RevisionSource source = replica.Applier.Store.BeginRevisions();
            DatabaseWriter.Write(file, CheckpointContent.HeadOf(replica), source, static work => work(), CancellationToken.None);
            source.End();
        }

        replica.Dispose();
        Corpus = [disk.Content("db")];
    }

    public override IReadOnlyList<byte[]> Corpus { get; }

    public override bool Run(byte[] input)
    {
        MemoryDisk disk = new(new Prng(1));
        disk.Overwrite("db", input);
        using IDiskFile file = disk.Open("db", DiskOpen.Read);
        bool good = true;
        foreach (Action<DatabaseReader> look in (Action<DatabaseReader>[])
            [static r => r.ReadStatus(), static r => r.ReadStore().Dispose(), static r => r.ReadAuth(), ReadRaised])
        {
            try
            {
                look(new DatabaseReader(file, "db", SnapshotFile.DatabaseBytes(file)));
            }
            catch (Exception e) when (e is IOException or InvalidDataException)
            {
                good = false;
            }
        }

        return good;
    }

    private static void ReadRaised(DatabaseReader reader)
    {
        using MvccStore store = reader.ReadStore();
        SnapshotRestore.Raise(store, 1000);
    }
}

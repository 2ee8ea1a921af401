using System.Globalization;
using Kapell.Etcd.Server.Hosting;
using Kapell.Raft;
using Kapell.Mvcc;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// A data directory that etcd wrote becomes one of ours at the start: a checkpoint of what etcd had applied, and a log with all its entries
/// after that under their terms, with its vote. From there on it is an ordinary start.
/// </summary>
internal static class EtcdTakeover
{
    private const int BatchEntries = 4096;
    private const long BatchBytesMax = 8 << 20;

    /// <summary>Does nothing where there is nothing of etcd.</summary>
    /// <exception cref="IOException">It cannot be taken over; the message says which file and why, and the directory is as it was.</exception>
    public static void Run(IDisk disk, ReplicaSettings settings, ILogger logger)
    {
        TakeoverPlaces places = new(disk, settings);
        if (places.IsComplete)
        {
            TakeoverLog.Resumed(logger);
            TakeoverLog.Done(logger, string.Join(", ", places.Finish()));
            return;
        }

        if (!places.HasEtcdLog)
        {
            if (places.HasDatabase)
            {
                throw new TakeoverException(
                    $"{places.Database} is a database of etcd, but {places.Log} holds no log of etcd (--wal-dir?): without it nobody knows which member this is. "
                    + "To begin a new cluster with its keys: kapell etcdutl snapshot restore --skip-hash-check");
            }

            return;
        }

        RefuseWhatCannotBe(places);
        using DirectoryLock held = DirectoryLock.TryHold(places.Database) ?? throw new TakeoverException(
            $"{places.Database} is in use by another process: stop etcd first");
        places.Discard();
        using (IDiskFile file = disk.Open(places.Database, DiskOpen.Read))
        {
            TakeoverLog.Begins(logger, settings.DataDirectory, file.Length);
        }

        EtcdMember member = new EtcdMemberReader(disk, places.Snapshots, places.Log).Read(places.Database);
        using (member.Store)
        {
            Tell(logger, member);
            Write(disk, places, settings, member);
        }

        TakeoverLog.Written(logger, member.Head.Index, member.Entries.Count);
        places.Complete();
        TakeoverLog.Done(logger, string.Join(", ", places.Finish()));
        if (member.Head.Members.Count > 1)
        {
            TakeoverLog.AllMustMove(logger, member.Head.Members.Count);
        }
    }

    private static void RefuseWhatCannotBe(TakeoverPlaces places)
    {
        if (places.HasOwnLog)
        {
            throw new TakeoverException($"{places.Log} holds a log of etcd and one of Kapell: one of them was put there by hand, move it away");
        }

        if (!places.HasDatabase)
        {
            throw new TakeoverException($"{places.Log} holds a log of etcd, but there is no {places.Database}");
        }
    }

    private static void Tell(ILogger logger, EtcdMember member)
    {
        foreach (string remark in member.Remarks)
        {
            TakeoverLog.Remark(logger, remark);
        }

        TakeoverLog.Read(
            logger, member.Id.ToString("x", CultureInfo.InvariantCulture), member.Cluster.ToString("x", CultureInfo.InvariantCulture), member.Store.Revision,
            member.Store.CompactRevision, member.Head.Index, member.Entries.Count, member.State.Commit.Value, member.State.Term.Value);
    }

    private static void Write(IDisk disk, TakeoverPlaces places, ReplicaSettings settings, EtcdMember member)
    {
        disk.CreateDirectory(places.NewSnapshots);
        if (member.Head.Index > 0)
        {
            using CheckpointWriteStream writer = CheckpointFile.Create(disk, places.NewSnapshots, member.Head.Index);
            CheckpointSource source = member.Store.BeginCheckpoint();
            CheckpointContent.Write(writer, member.Head, source, static work => work(), CancellationToken.None);
            source.End();
            writer.Commit();
        }

        LogHead head = new() { Identity = (member.Cluster, member.Id), State = member.State };
        WalOptions options = new() { SegmentBytes = settings.SegmentBytes, SegmentHead = head.Records };
        using WriteAheadLog log = WriteAheadLog.Open(disk, places.NewLog, options, static _ => throw new InvalidDataException("the new log is not empty"));
        List<WalRecord> batch = [];
        long bytes = 0;
        foreach (Entry entry in member.Entries)
        {
            batch.Add(LogRecords.Of(entry));
            bytes += entry.Data.Length;
            if (batch.Count == BatchEntries || bytes >= BatchBytesMax)
            {
                log.Append(batch);
                (batch, bytes) = ([], 0);
            }
        }

        log.Append([.. batch, .. head.Records()]);
        log.Sync();
    }
}

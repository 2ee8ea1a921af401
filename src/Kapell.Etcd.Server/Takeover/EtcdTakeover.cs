using Kapell.Etcd.Server.Hosting;
using Kapell.Etcd.Server.Peers;
using Kapell.Storage;
using Microsoft.Extensions.Logging;

namespace Kapell.Etcd.Server.Takeover;

/// <summary>
/// A data directory that etcd wrote becomes one of ours at the start: a checkpoint of what etcd had applied, and a log with all its entries
/// after that under their terms, with its vote. From there on it is an ordinary start.
/// </summary>
internal static class EtcdTakeover
{
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

        EtcdMember member = new EtcdMemberReader(disk, places.Snapshots, places.Log, settings.LearnersMax).Read(places.Database);
        using (member.Store)
        {
            Tell(logger, member);
            LogHead log = new() { Identity = (member.Cluster, member.Id), State = member.State };
            MemberFiles.Write(disk, (places.NewSnapshots, places.NewLog), settings.SegmentBytes, member.Head, member.Store, log, member.Entries);
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
            logger, PeerProtocol.Hex(member.Id), PeerProtocol.Hex(member.Cluster), member.Store.Revision,
            member.Store.CompactRevision, member.Head.Index, member.Entries.Count, member.State.Commit.Value, member.State.Term.Value);
    }
}

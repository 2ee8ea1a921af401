using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Raft;
using Kapell.Storage;
using Kapell.Storage.Checkpoints;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// The files of a member that has not run here yet: a checkpoint of what it begins with, and a log that says whose it is and holds the
/// entries after that. What a restored snapshot and a directory taken over from etcd become.
/// </summary>
internal static class MemberFiles
{
    private const int BatchEntries = 4096;
    private const long BatchBytesMax = 8 << 20;

    /// <param name="head">Index 0: the store is empty, and there is no checkpoint.</param>
    /// <param name="directories">Where the checkpoint and the log are to lie; the log must not be there yet.</param>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static void Write(
        IDisk disk, (string Checkpoints, string Log) directories, int segmentBytes, CheckpointHead head, MvccStore store, LogHead log, IReadOnlyList<Entry> entries)
    {
        disk.CreateDirectory(directories.Checkpoints);
        if (head.Index > 0)
        {
            WriteCheckpoint(disk, directories.Checkpoints, head, store);
        }

        WalOptions options = new() { SegmentBytes = segmentBytes, SegmentHead = log.Records };
        using WriteAheadLog file = WriteAheadLog.Open(disk, directories.Log, options, static _ => throw new InvalidDataException("the new log is not empty"));
        List<WalRecord> batch = [];
        long bytes = 0;
        foreach (Entry entry in entries)
        {
            batch.Add(LogRecords.Of(entry));
            bytes += entry.Data.Length;
            if (batch.Count == BatchEntries || bytes >= BatchBytesMax)
            {
                file.Append(batch);
                (batch, bytes) = ([], 0);
            }
        }

        // Whose it is comes last: a log that stopped short of it is of nobody.
        file.Append([.. batch, .. log.Records()]);
        file.Sync();
    }

    private static void WriteCheckpoint(IDisk disk, string directory, CheckpointHead head, MvccStore store)
    {
        using CheckpointWriteStream writer = CheckpointFile.Create(disk, directory, head.Index);
        CheckpointSource source = store.BeginCheckpoint();
        CheckpointContent.Write(writer, head, source, static work => work(), CancellationToken.None);
        source.End();
        writer.Commit();
    }
}

using Kapell.Raft;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What several <see cref="Ready"/> ask to be written, in one go.</summary>
internal static class LogBatch
{
    /// <summary>Whether it must be flushed before it counts as written, and the bytes of its entries.</summary>
    public static (bool MustSync, long Bytes) Append(WriteAheadLog log, LogHead head, IReadOnlyList<Ready> batch)
    {
        List<WalRecord> records = [];
        bool sync = false;
        long bytes = 0;
        HardState written = head.State;
        HardState last = written;
        foreach (Ready ready in batch)
        {
            if (ready.Snapshot is { } snapshot)
            {
                records.Add(LogRecords.Checkpoint(snapshot.Position));
            }

            foreach (Entry entry in ready.Entries)
            {
                WalRecord record = LogRecords.Of(entry);
                bytes += record.Payload.Length;
                records.Add(record);
            }

            if (ready.HardState is { } state)
            {
                last = state;
                records.Add(LogRecords.Of(state));
            }

            sync |= ready.MustSync;
        }

        // A segment that begins within this batch repeats the state before the entries that follow: their commit is not for its head.
        head.State = last with { Commit = written.Commit };
        log.Append(records);
        head.State = last;
        return (sync, bytes);
    }
}

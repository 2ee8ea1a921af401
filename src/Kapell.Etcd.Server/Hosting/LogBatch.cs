using System.Buffers;
using Kapell.Raft;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What several <see cref="Ready"/> ask to be written, in one go.</summary>
internal static class LogBatch
{
    /// <summary>Whether it must be flushed before it counts as written, and the bytes of its entries.</summary>
    public static (bool MustSync, long Bytes) Append(WriteAheadLog log, LogHead head, IReadOnlyList<Ready> batch)
    {
        (int count, int size) = Measure(batch);
        List<WalRecord> records = new(count);
        byte[] payloads = ArrayPool<byte>.Shared.Rent(size);
        Memory<byte> free = payloads;
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
                int length = LogRecords.SizeOf(entry);
                records.Add(LogRecords.Of(entry, free[..length]));
                free = free[length..];
                bytes += length;
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

        // The log has copied all of it.
        ArrayPool<byte>.Shared.Return(payloads);
        return (sync, bytes);
    }

    private static (int Records, int EntryBytes) Measure(IReadOnlyList<Ready> batch)
    {
        (int records, int bytes) = (0, 0);
        foreach (Ready ready in batch)
        {
            records += ready.Entries.Count + 2;
            foreach (Entry entry in ready.Entries)
            {
                bytes = checked(bytes + LogRecords.SizeOf(entry));
            }
        }

        return (records, bytes);
    }
}

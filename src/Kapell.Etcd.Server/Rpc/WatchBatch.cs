using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;

namespace Kapell.Etcd.Server.Rpc;

/// <summary>Turns the waiting events of one watcher into responses.</summary>
internal static class WatchBatch
{
    private const int RevisionsMax = 1000; // etcd: watchable_store.go watchBatchMaxRevs
    private const int BytesMax = 1 << 20;

    /// <summary>
    /// While nobody changes the store, and under the lock of the stream. All events of a revision go together. Adds nothing when
    /// nothing waits; false when the watcher's place was compacted away.
    /// </summary>
    public static bool Take(MvccStore store, ReplyHeader header, Watcher watcher, int fragmentBytes, List<Reply> replies)
    {
        ReplyWriter? writer = null;
        long lastRevision = 0;
        int revisions = 0;
        while (watcher.Peek(store) is { } position)
        {
            if (!store.ReadChange(position, out long revision, out RecordAddress address))
            {
                if (watcher.SkipUnwanted(store))
                {
                    continue;
                }

                return false;
            }

            if (revision < watcher.StartRevision)
            {
                watcher.Advance(sent: false);
                continue;
            }

            if (revision != lastRevision)
            {
                if (++revisions > RevisionsMax || writer?.Length > BytesMax)
                {
                    break;
                }

                lastRevision = revision;
            }

            RecordAddress? previous = watcher.PreviousValues ? Previous(store, address, revision) : null;
            if (writer is not null && watcher.Fragments && writer.Length + SizeOf(store, address, previous) > fragmentBytes)
            {
                writer.Flag(7, true);
                replies.Add(writer.Finish());
                writer = null;
            }

            writer ??= Begin(header, store.Revision, watcher.Id);
            AddEvent(writer, store, address, previous);
            watcher.Advance(sent: true);
        }

        if (writer is not null)
        {
            replies.Add(writer.Finish());
        }

        return true;
    }

    public static ReplyWriter Begin(ReplyHeader header, long revision, long watchId)
    {
        ReplyWriter writer = new();
        header.Write(writer, revision);
        writer.Number(2, watchId);
        return writer;
    }

    private static void AddEvent(ReplyWriter writer, MvccStore store, RecordAddress address, RecordAddress? previous)
    {
        int mark = writer.Begin(11);
        writer.Flag(1, address.IsTombstone);
        writer.Nested(2, store.ReadBytes(address));
        if (previous is { } before)
        {
            writer.Nested(3, store.ReadBytes(before));
        }

        writer.End(mark);
    }

    /// <summary>The pair before the change; none when it was created by it, or is compacted.</summary>
    private static RecordAddress? Previous(MvccStore store, RecordAddress address, long revision)
    {
        KeyValueRecord record = store.Read(address);
        if (record.Version == 1 || revision - 1 < store.CompactRevision)
        {
            return null;
        }

        return store.TryGet(record.Key, revision - 1, out RecordAddress previous) ? previous : null;
    }

    private static int SizeOf(MvccStore store, RecordAddress address, RecordAddress? previous) =>
        32 + store.ReadBytes(address).Length + (previous is { } before ? store.ReadBytes(before).Length : 0);
}

using System.Buffers.Binary;
using Kapell.Raft;
using Kapell.Storage.Wal;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>
/// What stands in the write-ahead log, little-endian. Entry: tag is the index; term (8), kind (1), data. State: term, vote, commit (8 each).
/// Identity: cluster, member (8 each). Checkpoint: index, term (8 each): the log before it is void, a checkpoint of the leader replaced it.
/// </summary>
internal static class LogRecords
{
    public const byte EntryType = 1;
    public const byte StateType = 2;
    public const byte IdentityType = 3;
    public const byte CheckpointType = 4;
    private const int EntryPrefixBytes = 9;

    public static WalRecord Of(Entry entry) => Of(entry, new byte[SizeOf(entry)]);

    /// <summary>Bytes of the record's payload.</summary>
    public static int SizeOf(Entry entry) => checked(EntryPrefixBytes + entry.Data.Length);

    /// <param name="payload">Memory of that size, which the record is in from then on.</param>
    public static WalRecord Of(Entry entry, Memory<byte> payload)
    {
        Span<byte> bytes = payload.Span;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry.Term.Value);
        bytes[8] = (byte)entry.Kind;
        entry.Data.Span.CopyTo(bytes[EntryPrefixBytes..]);
        return new WalRecord(EntryType, entry.Index.Value, payload);
    }

    public static WalRecord Of(HardState state) => new(StateType, 0, Words(state.Term.Value, state.Vote.Value, state.Commit.Value));

    public static WalRecord Identity(ulong cluster, ulong member) => new(IdentityType, 0, Words(cluster, member));

    /// <summary>Tagged with its index, so that the log keeps it as long as entries of that place.</summary>
    public static WalRecord Checkpoint(LogPosition position) => new(
        CheckpointType, position.Index.Value, Words(position.Index.Value, position.Term.Value));

    public static LogPosition ToCheckpoint(WalRecord record)
    {
        Demand(record, record.Payload.Length == 16);
        return new LogPosition(new Term(Word(record.Payload.Span, 1)), new LogIndex(Word(record.Payload.Span, 0)));
    }

    public static Entry ToEntry(WalRecord record)
    {
        Demand(record, record.Payload.Length >= EntryPrefixBytes);
        ReadOnlySpan<byte> payload = record.Payload.Span;
        return new Entry(
            new LogIndex(record.Tag), new Term(Word(payload, 0)), (EntryKind)payload[8], record.Payload[EntryPrefixBytes..]);
    }

    public static HardState ToState(WalRecord record)
    {
        Demand(record, record.Payload.Length == 24);
        ReadOnlySpan<byte> payload = record.Payload.Span;
        return new HardState(new Term(Word(payload, 0)), new MemberId(Word(payload, 1)), new LogIndex(Word(payload, 2)));
    }

    public static (ulong Cluster, ulong Member) ToIdentity(WalRecord record)
    {
        Demand(record, record.Payload.Length == 16);
        (ulong cluster, ulong member) = (Word(record.Payload.Span, 0), Word(record.Payload.Span, 1));
        return member != 0 ? (cluster, member) : throw new InvalidDataException(
            $"the write-ahead log says that it is of member 0 of cluster {cluster:x}, and no member has that number: nothing that Kapell writes");
    }

    private static void Demand(WalRecord record, bool condition)
    {
        if (!condition)
        {
            throw new InvalidDataException(
                $"the write-ahead log holds a record of type {record.Type} with {record.Payload.Length} bytes: written by another version?");
        }
    }

    private static byte[] Words(params ReadOnlySpan<ulong> words)
    {
        byte[] bytes = new byte[words.Length * 8];
        for (int i = 0; i < words.Length; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(i * 8), words[i]);
        }

        return bytes;
    }

    private static ulong Word(ReadOnlySpan<byte> bytes, int index) => BinaryPrimitives.ReadUInt64LittleEndian(bytes[(index * 8)..]);
}

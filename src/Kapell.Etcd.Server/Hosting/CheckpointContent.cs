using System.Buffers;
using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Replication;
using Kapell.Mvcc;
using Kapell.Raft;

namespace Kapell.Etcd.Server.Hosting;

/// <summary>What was read of a checkpoint; the store is its owner's.</summary>
internal sealed record LoadedCheckpoint(CheckpointHead Head, MvccStore Store);

/// <summary>A checkpoint's content: length (4) and <see cref="CheckpointHead"/>, then what the store wrote.</summary>
internal static class CheckpointContent
{
    /// <summary>What is written to the disk in one go.</summary>
    public const int PieceBytes = 256 * 1024;

    /// <summary>What is read while nobody may change the store: usually much less than a millisecond, but a record that lies far away may take 30 us.</summary>
    private const int GuardedBytes = 16 * 1024;

    private const int HeadBytesMax = 64 << 20;

    public static CheckpointHead HeadOf(Replica replica)
    {
        ConfState conf = replica.Raft.ConfState;
        CheckpointHead head = new()
        {
            ClusterId = replica.ClusterId,
            Index = replica.AppliedPosition.Index.Value,
            Term = replica.AppliedPosition.Term.Value,
            AutoLeave = conf.AutoLeave,
            Auth = AuthRecordsCodec.Save(replica.Applier.Auth),
        };
        head.Voters.AddRange(conf.Voters.Select(static m => m.Value));
        head.VotersOutgoing.AddRange(conf.VotersOutgoing.Select(static m => m.Value));
        head.Learners.AddRange(conf.Learners.Select(static m => m.Value));
        head.LearnersNext.AddRange(conf.LearnersNext.Select(static m => m.Value));
        head.Members.AddRange(replica.Applier.Members.All);
        head.RemovedMembers.AddRange(replica.Applier.Members.Removed);
        head.Leases.AddRange(replica.Applier.Store.Leases.Remembered().Select(static l => new LeaseCheckpoint { ID = l.Id, RemainingTTL = l.Remaining }));
        head.Alarms.AddRange(replica.Applier.Alarms.Select(static a => new AlarmMember { MemberID = a.Member, Alarm = a.Alarm }));
        return head;
    }

    public static SnapshotMetadata MetadataOf(CheckpointHead head) => new(
        new LogPosition(new Term(head.Term), new LogIndex(head.Index)),
        new ConfState
        {
            Voters = [.. head.Voters.Select(static v => new MemberId(v))],
            VotersOutgoing = [.. head.VotersOutgoing.Select(static v => new MemberId(v))],
            Learners = [.. head.Learners.Select(static v => new MemberId(v))],
            LearnersNext = [.. head.LearnersNext.Select(static v => new MemberId(v))],
            AutoLeave = head.AutoLeave,
        });

    /// <summary>Writes it all; <paramref name="guarded"/> runs a piece of work while nobody changes the store.</summary>
    public static void Write(Stream output, CheckpointHead head, CheckpointSource source, Action<Action> guarded, CancellationToken stopping) =>
        Write(output, head, source, guarded, static () => { }, stopping);

    /// <param name="between">Called after each piece.</param>
    public static void Write(
        Stream output, CheckpointHead head, CheckpointSource source, Action<Action> guarded, Action between, CancellationToken stopping)
    {
        foreach (long _ in WritePieces(output, head, source, guarded, PieceBytes))
        {
            stopping.ThrowIfCancellationRequested();
            between();
        }
    }

    /// <summary>As writing it all, one piece each time the caller moves on; it is whole when the sequence ends. Gives the bytes of each.</summary>
    public static IEnumerable<long> WritePieces(Stream output, CheckpointHead head, CheckpointSource source, Action<Action> guarded, int pieceBytes)
    {
        byte[] encoded = head.ToByteArray();
        byte[] length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, encoded.Length);
        output.Write(length);
        output.Write(encoded);
        yield return encoded.Length;
        ArrayBufferWriter<byte> piece = new(pieceBytes);
        bool more = true;
        while (more)
        {
            while (more && piece.WrittenCount < pieceBytes)
            {
                guarded(() => more = source.WriteNext(piece, GuardedBytes));
            }

            output.Write(piece.WrittenSpan);
            yield return piece.WrittenCount;
            piece.ResetWrittenCount();
        }
    }

    /// <exception cref="InvalidDataException">The content is no checkpoint of ours.</exception>
    public static LoadedCheckpoint Read(Stream input)
    {
        Span<byte> length = stackalloc byte[4];
        input.ReadExactly(length);
        int bytes = BinaryPrimitives.ReadInt32LittleEndian(length);
        if (bytes is < 0 or > HeadBytesMax)
        {
            throw new InvalidDataException($"checkpoint: a head of {bytes} bytes");
        }

        byte[] encoded = new byte[bytes];
        input.ReadExactly(encoded);
        return new LoadedCheckpoint(CheckpointHead.Parser.ParseFrom(encoded), CheckpointLoader.Load(input, Task.Run));
    }
}

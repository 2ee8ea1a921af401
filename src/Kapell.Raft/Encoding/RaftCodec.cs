using System.Diagnostics;
using Kapell.Base;

namespace Kapell.Raft.Encoding;

/// <summary>
/// The bytes of entries, states and messages, for logs and wires. Reading takes nothing on trust: a count is never larger than the bytes
/// that follow, and anything left over is a failure. Data that was read points into the input.
/// </summary>
public static class RaftCodec
{
    private const int EntryBytesMin = 21;
    private const int ProposalBytesMin = 5;
    private const int PositionBytes = 16;
    private const int StateBytes = 24;

    // Kind, sender, receiver, term.
    private const int HeadBytes = 25;

    private enum Kind : byte
    {
        VoteRequest = 1,
        VoteResponse = 2,
        AppendRequest = 3,
        AppendResponse = 4,
        Heartbeat = 5,
        HeartbeatResponse = 6,
        InstallSnapshot = 7,
        ReadIndexRequest = 8,
        ReadIndexResponse = 9,
        TimeoutNow = 10,
        ForwardedProposal = 11,
        TransferRequest = 12,
    }

    public static byte[] Encode(Entry entry)
    {
        byte[] bytes = new byte[SizeOf(entry)];
        ByteWriter writer = new(bytes);
        Write(ref writer, entry);
        return bytes;
    }

    public static byte[] Encode(HardState state)
    {
        byte[] bytes = new byte[StateBytes];
        ByteWriter writer = new(bytes);
        writer.UInt64(state.Term.Value);
        writer.UInt64(state.Vote.Value);
        writer.UInt64(state.Commit.Value);
        return bytes;
    }

    public static byte[] Encode(SnapshotMetadata snapshot)
    {
        byte[] bytes = new byte[SizeOf(snapshot)];
        ByteWriter writer = new(bytes);
        Write(ref writer, snapshot);
        return bytes;
    }

    public static byte[] Encode(Message message)
    {
        byte[] bytes = new byte[SizeOf(message)];
        Encode(message, bytes);
        return bytes;
    }

    /// <summary>Writes the message into exactly <see cref="SizeOf(Message)"/> bytes.</summary>
    public static void Encode(Message message, Span<byte> into)
    {
        ByteWriter writer = new(into);
        Write(ref writer, message);
        Check.That(writer.AtEnd);
    }

    /// <summary>Bytes of the encoded message.</summary>
    public static int SizeOf(Message message) => HeadBytes + message switch
    {
        VoteRequest => PositionBytes + 2,
        VoteResponse => 2,
        AppendRequest m => PositionBytes + sizeof(ulong) + sizeof(uint) + SizeOf(m.Entries),
        AppendResponse => 1 + sizeof(ulong) + PositionBytes,
        Heartbeat => 2 * sizeof(ulong),
        HeartbeatResponse => sizeof(ulong),
        InstallSnapshot m => SizeOf(m.Snapshot),
        ReadIndexRequest => sizeof(ulong),
        ReadIndexResponse => 2 * sizeof(ulong),
        TimeoutNow => 0,
        ForwardedProposal m => sizeof(uint) + m.Entries.Sum(static e => ProposalBytesMin + e.Data.Length),
        TransferRequest => sizeof(ulong),
        _ => throw new UnreachableException(message.GetType().Name),
    };

    public static bool TryDecode(ReadOnlyMemory<byte> bytes, out Entry? entry)
    {
        ByteReader reader = new(bytes);
        entry = ReadEntry(ref reader);
        return reader.AtGoodEnd;
    }

    public static bool TryDecode(ReadOnlyMemory<byte> bytes, out HardState state)
    {
        ByteReader reader = new(bytes);
        Term term = reader.Term();
        MemberId vote = reader.Member();
        state = new HardState(term, vote, reader.Index());
        return reader.AtGoodEnd;
    }

    public static bool TryDecode(ReadOnlyMemory<byte> bytes, out SnapshotMetadata? snapshot)
    {
        ByteReader reader = new(bytes);
        snapshot = ReadSnapshot(ref reader);
        return reader.AtGoodEnd;
    }

    public static bool TryDecode(ReadOnlyMemory<byte> bytes, out Message? message)
    {
        ByteReader reader = new(bytes);
        message = ReadMessage(ref reader);
        return message is not null && reader.AtGoodEnd;
    }

    private static int SizeOf(Entry entry) => checked(EntryBytesMin + entry.Data.Length);

    private static int SizeOf(IReadOnlyList<Entry> entries)
    {
        int bytes = 0;
        for (int i = 0; i < entries.Count; i++)
        {
            bytes = checked(bytes + SizeOf(entries[i]));
        }

        return bytes;
    }

    private static int SizeOf(SnapshotMetadata snapshot) => PositionBytes + ByteWriter.SizeOf(snapshot.ConfState.Voters)
        + ByteWriter.SizeOf(snapshot.ConfState.VotersOutgoing) + ByteWriter.SizeOf(snapshot.ConfState.Learners)
        + ByteWriter.SizeOf(snapshot.ConfState.LearnersNext) + 1;

    private static void Write(ref ByteWriter w, Entry entry)
    {
        w.Position(entry.Position);
        w.Byte((byte)entry.Kind);
        w.Bytes(entry.Data.Span);
    }

    private static Entry ReadEntry(ref ByteReader r)
    {
        LogPosition position = r.Position();
        EntryKind kind = r.Kind();
        return new Entry(position.Index, position.Term, kind, r.Bytes());
    }

    private static void Write(ref ByteWriter w, SnapshotMetadata snapshot)
    {
        w.Position(snapshot.Position);
        w.Members(snapshot.ConfState.Voters);
        w.Members(snapshot.ConfState.VotersOutgoing);
        w.Members(snapshot.ConfState.Learners);
        w.Members(snapshot.ConfState.LearnersNext);
        w.Bool(snapshot.ConfState.AutoLeave);
    }

    private static SnapshotMetadata ReadSnapshot(ref ByteReader r)
    {
        LogPosition position = r.Position();
        ConfState state = new()
        {
            Voters = r.Members(),
            VotersOutgoing = r.Members(),
            Learners = r.Members(),
            LearnersNext = r.Members(),
            AutoLeave = r.Bool(),
        };
        return new SnapshotMetadata(position, state);
    }

    private static void Write(ref ByteWriter w, Message message)
    {
        w.Byte((byte)KindOf(message));
        w.UInt64(message.From.Value);
        w.UInt64(message.To.Value);
        w.UInt64(message.Term.Value);
        switch (message)
        {
            case VoteRequest m:
                w.Position(m.Last);
                w.Bool(m.PreVote);
                w.Bool(m.ByTransfer);
                break;
            case VoteResponse m:
                w.Bool(m.PreVote);
                w.Bool(m.Granted);
                break;
            case AppendRequest m:
                w.Position(m.Previous);
                w.UInt64(m.Commit.Value);
                w.UInt32((uint)m.Entries.Count);
                for (int i = 0; i < m.Entries.Count; i++)
                {
                    Write(ref w, m.Entries[i]);
                }

                break;
            case AppendResponse m:
                w.Bool(m.Accepted);
                w.UInt64(m.Index.Value);
                w.Position(m.Hint);
                break;
            case Heartbeat m:
                w.UInt64(m.Commit.Value);
                w.UInt64(m.ReadPosition);
                break;
            case HeartbeatResponse m:
                w.UInt64(m.ReadPosition);
                break;
            case InstallSnapshot m:
                Write(ref w, m.Snapshot);
                break;
            case ReadIndexRequest m:
                w.UInt64(m.Context);
                break;
            case ReadIndexResponse m:
                w.UInt64(m.Context);
                w.UInt64(m.Index.Value);
                break;
            case ForwardedProposal m:
                w.UInt32((uint)m.Entries.Count);
                foreach (ProposedEntry entry in m.Entries)
                {
                    w.Byte((byte)entry.Kind);
                    w.Bytes(entry.Data.Span);
                }

                break;
            case TransferRequest m:
                w.UInt64(m.Successor.Value);
                break;
        }
    }

    private static Kind KindOf(Message message) => message switch
    {
        VoteRequest => Kind.VoteRequest,
        VoteResponse => Kind.VoteResponse,
        AppendRequest => Kind.AppendRequest,
        AppendResponse => Kind.AppendResponse,
        Heartbeat => Kind.Heartbeat,
        HeartbeatResponse => Kind.HeartbeatResponse,
        InstallSnapshot => Kind.InstallSnapshot,
        ReadIndexRequest => Kind.ReadIndexRequest,
        ReadIndexResponse => Kind.ReadIndexResponse,
        TimeoutNow => Kind.TimeoutNow,
        ForwardedProposal => Kind.ForwardedProposal,
        TransferRequest => Kind.TransferRequest,
        _ => throw new UnreachableException(message.GetType().Name),
    };

    /// <summary>Null for a kind that is not known. Arguments are evaluated left to right, which is the order of the fields.</summary>
    private static Message? ReadMessage(ref ByteReader r)
    {
        Kind kind = (Kind)r.Byte();
        MemberId from = r.Member();
        MemberId to = r.Member();
        Term term = r.Term();
        return kind switch
        {
            Kind.VoteRequest => new VoteRequest(from, to, term, r.Position(), r.Bool(), r.Bool()),
            Kind.VoteResponse => new VoteResponse(from, to, term, r.Bool(), r.Bool()),
            Kind.AppendRequest => new AppendRequest(from, to, term, r.Position(), r.Index(), ReadEntries(ref r)),
            Kind.AppendResponse => new AppendResponse(from, to, term, r.Bool(), r.Index(), r.Position()),
            Kind.Heartbeat => new Heartbeat(from, to, term, r.Index(), r.UInt64()),
            Kind.HeartbeatResponse => new HeartbeatResponse(from, to, term, r.UInt64()),
            Kind.InstallSnapshot => new InstallSnapshot(from, to, term, ReadSnapshot(ref r)),
            Kind.ReadIndexRequest => new ReadIndexRequest(from, to, r.UInt64()),
            Kind.ReadIndexResponse => new ReadIndexResponse(from, to, term, r.UInt64(), r.Index()),
            Kind.TimeoutNow => new TimeoutNow(from, to, term),
            Kind.ForwardedProposal => new ForwardedProposal(from, to, ReadProposals(ref r)),
            Kind.TransferRequest => new TransferRequest(from, to, r.Member()),
            _ => null,
        };
    }

    private static Entry[] ReadEntries(ref ByteReader r)
    {
        Entry[] entries = new Entry[r.Count(EntryBytesMin)];
        for (int i = 0; i < entries.Length; i++)
        {
            entries[i] = ReadEntry(ref r);
        }

        return entries;
    }

    private static ProposedEntry[] ReadProposals(ref ByteReader r)
    {
        ProposedEntry[] entries = new ProposedEntry[r.Count(ProposalBytesMin)];
        for (int i = 0; i < entries.Length; i++)
        {
            EntryKind kind = r.Kind();
            entries[i] = new ProposedEntry(kind, r.Bytes());
        }

        return entries;
    }
}

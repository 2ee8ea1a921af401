using System.Buffers;
using System.Buffers.Binary;
using System.Text.Encodings.Web;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Rpc;
using Kapell.Mvcc;
using Kapell.Storage;
using Kapell.Storage.Bolt;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>
/// Writes the store at one revision as the database that etcd keeps (the buckets of its versions 3.4 to 3.6), piece by piece beside
/// the writes that go on. etcd: storage/schema, storage/mvcc
/// </summary>
internal static class DatabaseWriter
{
    private const int PieceBytes = 512 * 1024;
    private static readonly JsonWriterOptions AsGoWrites = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <param name="source">Disposed, but not ended.</param>
    /// <param name="guarded">Runs a piece of work while nobody changes the store.</param>
    /// <returns>Bytes of the database.</returns>
    public static long Write(IDiskFile file, CheckpointHead head, RevisionSource source, Action<Action> guarded, CancellationToken stopping)
    {
        BoltWriter writer = new(file);
        WriteKeys(writer, source, guarded, stopping);
        Bucket(writer, DatabaseBuckets.Lease, source.Leases.Select(static l => (BigEndian((ulong)l.Id), LeaseBytes(l))));
        Bucket(writer, DatabaseBuckets.Alarm, head.Alarms.Select(static a => (a.ToByteArray(), Array.Empty<byte>())));
        Bucket(writer, DatabaseBuckets.Members, head.Members.Select(static m => (Encoding.ASCII.GetBytes($"{m.ID:x}"), MemberJson(m))));
        Bucket(writer, DatabaseBuckets.Auth,
        [
            (Name(DatabaseBuckets.AuthEnabled), [head.Auth.Enabled ? (byte)1 : (byte)0]),
            (Name(DatabaseBuckets.AuthRevision), BigEndian(head.Auth.Revision)),
        ]);
        Bucket(writer, DatabaseBuckets.AuthUsers, head.Auth.Users.Select(static u => (u.Name.ToByteArray(), u.ToByteArray())));
        Bucket(writer, DatabaseBuckets.AuthRoles, head.Auth.Roles.Select(static r => (r.Name.ToByteArray(), r.ToByteArray())));
        Bucket(writer, DatabaseBuckets.Meta, Meta(head, source.CompactRevision));
        foreach (string empty in DatabaseBuckets.AlwaysEmpty)
        {
            Bucket(writer, empty, []);
        }

        writer.Finish();
        return writer.Bytes;
    }

    private static void WriteKeys(BoltWriter writer, RevisionSource source, Action<Action> guarded, CancellationToken stopping)
    {
        writer.BeginBucket(Name(DatabaseBuckets.Key));
        ArrayBufferWriter<byte> piece = new(PieceBytes);
        using (source)
        {
            source.Find(guarded, PieceBytes, stopping);
            bool more = true;
            while (more)
            {
                stopping.ThrowIfCancellationRequested();
                guarded(() => more = source.Next((RevisionKey key, in KeyValueRecord record) => Take(piece, key, record), PieceBytes));
                Give(writer, piece.WrittenSpan);
                piece.ResetWrittenCount();
            }
        }

        writer.EndBucket();
    }

    /// <summary>Copies a pair into the piece: nothing is written to the disk while the store must hold still.</summary>
    private static void Take(ArrayBufferWriter<byte> piece, RevisionKey key, in KeyValueRecord record)
    {
        // A deletion has nothing but its key in etcd's database. etcd: kvstore_txn.go delete
        ReadOnlySpan<byte> value = key.IsTombstone ? record.KeyField : record.Bytes;
        Span<byte> into = piece.GetSpan(5 + RevisionKey.BytesMax + value.Length);
        int length = key.Write(into[5..]);
        into[0] = (byte)length;
        BinaryPrimitives.WriteInt32LittleEndian(into[1..], value.Length);
        value.CopyTo(into[(5 + length)..]);
        piece.Advance(5 + length + value.Length);
    }

    private static void Give(BoltWriter writer, ReadOnlySpan<byte> piece)
    {
        while (!piece.IsEmpty)
        {
            int keyBytes = piece[0];
            int valueBytes = BinaryPrimitives.ReadInt32LittleEndian(piece[1..]);
            writer.Add(piece.Slice(5, keyBytes), piece.Slice(5 + keyBytes, valueBytes));
            piece = piece[(5 + keyBytes + valueBytes)..];
        }
    }

    private static List<(byte[] Key, byte[] Value)> Meta(CheckpointHead head, long compactRevision)
    {
        List<(byte[] Key, byte[] Value)> meta =
        [
            (Name(DatabaseBuckets.ConsistentIndex), BigEndian(head.Index)), (Name(DatabaseBuckets.Term), BigEndian(head.Term)),
            (Name(DatabaseBuckets.StorageVersion), Name(EtcdVersion.Storage)), (Name(DatabaseBuckets.ConfState), ConfStateJson(head)),
        ];
        if (compactRevision > 0)
        {
            byte[] revision = new byte[RevisionKey.BytesMax];
            int length = new RevisionKey(compactRevision, 0, false).Write(revision);
            meta.Add((Name(DatabaseBuckets.ScheduledCompaction), revision[..length]));
            meta.Add((Name(DatabaseBuckets.FinishedCompaction), revision[..length]));
        }

        return meta;
    }

    private static void Bucket(BoltWriter writer, string name, IEnumerable<(byte[] Key, byte[] Value)> pairs)
    {
        writer.BeginBucket(Name(name));
        foreach ((byte[] key, byte[] value) in pairs.OrderBy(static p => p.Key, Comparer<byte[]>.Create(static (a, b) => a.AsSpan().SequenceCompareTo(b))))
        {
            writer.Add(key, value);
        }

        writer.EndBucket();
    }

    private static byte[] Name(string name) => Encoding.ASCII.GetBytes(name);

    private static byte[] BigEndian(ulong value)
    {
        byte[] bytes = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return bytes;
    }

    /// <summary>leasepb.Lease: ID = 1, TTL = 2.</summary>
    private static byte[] LeaseBytes(LeaseInfo lease)
    {
        ReplyWriter writer = new(32);
        writer.Number(1, lease.Id);
        writer.Number(2, lease.Ttl);
        return writer.Finish().Span.ToArray();
    }

    private static byte[] MemberJson(Member member) => Json(json =>
    {
        json.WriteNumber("id", member.ID);
        Strings(json, "peerURLs", member.PeerURLs);
        if (member.IsLearner)
        {
            json.WriteBoolean("isLearner", true);
        }

        if (member.Name.Length > 0)
        {
            json.WriteString("name", member.Name);
        }

        if (member.ClientURLs.Count > 0)
        {
            Strings(json, "clientURLs", member.ClientURLs);
        }
    });

    private static byte[] ConfStateJson(CheckpointHead head) => Json(json =>
    {
        Numbers(json, "voters", head.Voters);
        Numbers(json, "learners", head.Learners);
        Numbers(json, "voters_outgoing", head.VotersOutgoing);
        Numbers(json, "learners_next", head.LearnersNext);
        json.WriteBoolean("auto_leave", head.AutoLeave);
    });

    private static byte[] Json(Action<Utf8JsonWriter> write)
    {
        ArrayBufferWriter<byte> bytes = new();
        using Utf8JsonWriter json = new(bytes, AsGoWrites);
        json.WriteStartObject();
        write(json);
        json.WriteEndObject();
        json.Flush();
        return bytes.WrittenSpan.ToArray();
    }

    private static void Strings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
        {
            json.WriteStringValue(value);
        }

        json.WriteEndArray();
    }

    private static void Numbers(Utf8JsonWriter json, string name, IReadOnlyCollection<ulong> values)
    {
        if (values.Count == 0)
        {
            return;
        }

        json.WriteStartArray(name);
        foreach (ulong value in values)
        {
            json.WriteNumberValue(value);
        }

        json.WriteEndArray();
    }
}

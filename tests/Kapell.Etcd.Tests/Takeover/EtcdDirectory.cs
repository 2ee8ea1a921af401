using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Etcd.Server.Hosting;
using Kapell.Storage;
using Kapell.Storage.Bolt;

namespace Kapell.Etcd.Tests.Takeover;

/// <summary>Writes a data directory as etcd does: by the format, not by our reader.</summary>
internal sealed class EtcdDirectory : IDisposable
{
    public const ulong Cluster = 0xc1;
    public const ulong Member = 0xa1;

    private const string VersionTwoStore = """
        {"Root":{"Path":"/","Children":{
          "0":{"Children":{
            "members":{"Children":{"ID":{"Path":"/0/members/ID","Children":{
              "attributes":{"Value":"{\"name\":\"n\",\"clientURLs\":[\"http://c:1\"]}"},
              "raftAttributes":{"Value":"{\"peerURLs\":[\"http://p:1\"]}"}}}}},
            "removed_members":{"Children":{"bad":{"Value":"removed"}}}}},
          "1":{"Path":"/1"}}}}
        """;

    private readonly List<byte> _segment = [];
    private uint _crc;

    public EtcdDirectory()
    {
        Directory.CreateDirectory(Wal);
        Directory.CreateDirectory(Snap);
        Record(4, [], crc: 0);
        Record(1, new EtcdLogIdentity { NodeId = Member, ClusterId = Cluster }.ToByteArray());
        Record(5, []);
    }

    public string Path { get; } = Directory.CreateTempSubdirectory("kapell-takeover-").FullName;

    public string Wal => System.IO.Path.Combine(Path, "member", "wal");

    public string Snap => System.IO.Path.Combine(Path, "member", "snap");

    public string FirstSegment => System.IO.Path.Combine(Wal, "0000000000000000-0000000000000000.wal");

    public ReplicaSettings Settings => new() { DataDirectory = Path, SegmentBytes = 1 << 20 };

    /// <summary>Where the next record will begin.</summary>
    public int Offset => _segment.Count;

    public static byte[] Put(string key, string value, string? user = null, ulong authRevision = 0)
    {
        EtcdRequest request = new() { Header = new EtcdRequestHeader { Id = 7 }, Put = new PutRequest { Key = Text(key), Value = Text(value) } };
        (request.Header.Username, request.Header.AuthRevision) = (user ?? "", authRevision);
        return request.ToByteArray();
    }

    public static ByteString Text(string text) => ByteString.CopyFromUtf8(text);

    /// <summary>The first entry of every cluster of one: its founder.</summary>
    public void Found() => Entry(1, 1, ConfChange(0, Member, $$"""{"id":{{Member}},"peerURLs":["http://127.0.0.1:2380"],"name":"default"}"""), type: 1);

    public static byte[] ConfChange(int type, ulong member, string context) =>
        new EtcdConfChange { Id = 1, Type = type, NodeId = member, Context = Text(context) }.ToByteArray();

    public void Entry(ulong index, ulong term, byte[] data, int type = 0) =>
        Record(2, new EtcdEntry { Index = index, Term = term, Type = type, Data = ByteString.CopyFrom(data) }.ToByteArray());

    public void State(ulong term, ulong vote, ulong commit) => Record(3, new EtcdHardState { Term = term, Vote = vote, Commit = commit }.ToByteArray());

    public void Record(long type, byte[] data, uint? crc = null)
    {
        _crc = crc ?? Crc32C.Append(_crc, data);
        byte[] record = new EtcdLogRecord { Type = type, Crc = _crc, Data = ByteString.CopyFrom(data) }.ToByteArray();
        int padding = (8 - (record.Length % 8)) % 8;
        byte[] head = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(head, (uint)record.Length | (padding == 0 ? 0 : (ulong)(uint)(0x80 | padding) << 56));
        _segment.AddRange(head);
        _segment.AddRange(record);
        _segment.AddRange(new byte[padding]);
    }

    /// <summary>The log, with prepared space behind it unless it was cut.</summary>
    public void WriteLog(int? cutAt = null, Action<byte[]>? damage = null)
    {
        byte[] bytes = [.. _segment.Take(cutAt ?? _segment.Count), .. new byte[cutAt is null ? 4096 : 0]];
        damage?.Invoke(bytes);
        File.WriteAllBytes(FirstSegment, bytes);
    }

    /// <summary>A database with these puts, one a revision from 2 on.</summary>
    public void WriteDatabase(ulong consistentIndex, params string[] keys)
    {
        using IDiskFile file = new FileDisk().Open(System.IO.Path.Combine(Snap, "db"), DiskOpen.Create);
        BoltWriter writer = new(file);
        writer.BeginBucket("alarm"u8);
        writer.Add(new AlarmMember { MemberID = Member, Alarm = AlarmType.Corrupt }.ToByteArray(), []);
        writer.EndBucket();
        writer.BeginBucket("key"u8);
        for (int i = 0; i < keys.Length; i++)
        {
            byte[] at = new byte[17];
            BinaryPrimitives.WriteInt64BigEndian(at, i + 2);
            at[8] = (byte)'_';
            writer.Add(at, new KeyValue { Key = Text(keys[i]), Value = Text("old"), CreateRevision = i + 2, ModRevision = i + 2, Version = 1 }.ToByteArray());
        }

        writer.EndBucket();
        writer.BeginBucket("lease"u8);
        writer.Add([0, 0, 0, 0, 0, 0, 0, 9], new LeaseOnDisk(9, 600, 100).Encode());
        writer.EndBucket();
        writer.BeginBucket("meta"u8);
        byte[] index = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(index, consistentIndex);
        writer.Add("consistent_index"u8, index);
        writer.EndBucket();
        writer.Finish();
        file.Flush();
    }

    /// <summary>A snapshot file of one voter, and the log's word of it.</summary>
    public void WriteSnapshot(ulong index, ulong term)
    {
        string json = VersionTwoStore.Replace("ID", $"{Member:x}", StringComparison.Ordinal);
        EtcdSnapshotMetadata metadata = new() { Index = index, Term = term, ConfState = new EtcdConfState() };
        metadata.ConfState.Voters.Add(Member);
        byte[] snapshot = new EtcdSnapshot { Data = Text(json), Metadata = metadata }.ToByteArray();
        EtcdSnapshotFile file = new() { Crc = Crc32C.Compute(snapshot), Data = ByteString.CopyFrom(snapshot) };
        File.WriteAllBytes(System.IO.Path.Combine(Snap, string.Create(CultureInfo.InvariantCulture, $"{term:x16}-{index:x16}.snap")), file.ToByteArray());
        Record(5, new EtcdLogSnapshot { Index = index, Term = term }.ToByteArray());
    }

    /// <summary>leasepb.Lease: number, time to live and what is left of it in seconds, as fields 1 to 3.</summary>
    private readonly record struct LeaseOnDisk(byte Id, ushort Ttl, byte Left)
    {
        public byte[] Encode() => [1 << 3, Id, 2 << 3, (byte)((Ttl & 0x7F) | 0x80), (byte)(Ttl >> 7), 3 << 3, Left];
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

using System.Buffers.Binary;
using Google.Protobuf;
using Kapell.Etcd.Protocol;
using Kapell.Mvcc;
using Kapell.Storage;
using Kapell.Storage.Bolt;

namespace Kapell.Etcd.Server.Snapshots;

/// <summary>What `snapshot status` tells of a database.</summary>
internal sealed record DatabaseStatus(uint Hash, long Revision, long TotalKeys, long TotalBytes, string Version);

/// <summary>Reads a database of etcd, its own or ours, into a store. etcd: mvcc/kvstore.go restore, etcdutl/snapshot</summary>
internal sealed class DatabaseReader(IDiskFile file, string path, long length)
{
    private readonly BoltReader _bolt = new(file, path, length);

    /// <exception cref="CorruptDatabaseException">It is damaged, or no database of etcd.</exception>
    public MvccStore ReadStore()
    {
        using StoreBuilder builder = new();
        try
        {
            _bolt.Visit(DatabaseBuckets.Lease, (key, value) =>
            {
                (long id, long ttl, _) = ReadLease(value);
                builder.AddLease(id, ttl);
            });
            bool there = _bolt.Visit(DatabaseBuckets.Key, (key, value) => builder.Add(ReadRevision(key), value));
            if (!there)
            {
                throw new FormatException("it has no bucket \"key\": it is not etcd's");
            }

            return Build(builder);
        }
        catch (Exception e) when (e is FormatException or InvalidProtocolBufferException or OverflowException)
        {
            throw new CorruptDatabaseException(path, 0, e.Message);
        }
    }

    /// <summary>Users and roles.</summary>
    /// <exception cref="CorruptDatabaseException">It is damaged.</exception>
    public AuthTables ReadAuth()
    {
        AuthTables auth = new() { Revision = 1 };
        try
        {
            _bolt.Visit(DatabaseBuckets.Auth, (key, value) =>
            {
                if (key.SequenceEqual("authEnabled"u8))
                {
                    auth.Enabled = value.Length == 1 && value[0] == 1;
                }
                else if (key.SequenceEqual("authRevision"u8))
                {
                    auth.Revision = value.Length == sizeof(ulong)
                        ? BinaryPrimitives.ReadUInt64BigEndian(value)
                        : throw new FormatException("the revision of the users is no number");
                }
            });
            _bolt.Visit(DatabaseBuckets.AuthUsers, (_, value) => auth.Users.Add(User.Parser.ParseFrom(value)));
            _bolt.Visit(DatabaseBuckets.AuthRoles, (_, value) => auth.Roles.Add(Role.Parser.ParseFrom(value)));
            return auth;
        }
        catch (Exception e) when (e is FormatException or InvalidProtocolBufferException)
        {
            throw new CorruptDatabaseException(path, 0, e.Message);
        }
    }

    /// <summary>Alarms that are raised.</summary>
    /// <exception cref="CorruptDatabaseException">It is damaged.</exception>
    public List<AlarmMember> ReadAlarms() => Guarded(() =>
    {
        List<AlarmMember> alarms = [];
        _bolt.Visit(DatabaseBuckets.Alarm, (key, _) => alarms.Add(AlarmMember.Parser.ParseFrom(key)));
        return alarms;
    });

    /// <summary>Leases of which less than the whole time is left, in seconds, where that was kept.</summary>
    /// <exception cref="CorruptDatabaseException">It is damaged.</exception>
    public List<LeaseCheckpoint> ReadTimesLeft() => Guarded(() =>
    {
        List<LeaseCheckpoint> left = [];
        _bolt.Visit(DatabaseBuckets.Lease, (key, value) =>
        {
            (long id, _, long remaining) = ReadLease(value);
            if (remaining > 0)
            {
                left.Add(new LeaseCheckpoint { ID = id, RemainingTTL = remaining });
            }
        });
        return left;
    });

    /// <summary>The entry of the log up to which everything is in here; 0 when that was never said.</summary>
    /// <exception cref="CorruptDatabaseException">It is damaged.</exception>
    public ulong ReadConsistentIndex() => Guarded<ulong>(() => Meta(DatabaseBuckets.ConsistentIndex) switch
    {
        null => 0,
        { Length: sizeof(ulong) } bytes => BinaryPrimitives.ReadUInt64BigEndian(bytes),
        { Length: var length } => throw new FormatException($"the consistent index has {length} bytes"),
    });

    /// <summary>As versions since 3.6 say it; empty before.</summary>
    public string ReadStorageVersion() => MetaText(DatabaseBuckets.StorageVersion);

    /// <summary>Reads all of it.</summary>
    public DatabaseStatus ReadStatus()
    {
        uint hash = 0;
        long revision = 0;
        HashSet<byte[]> keys = new(ByteKeys.Instance);
        foreach (string bucket in _bolt.Buckets)
        {
            hash = Crc32C.Append(hash, System.Text.Encoding.Latin1.GetBytes(bucket));
            bool isKeys = bucket == DatabaseBuckets.Key;
            _bolt.Visit(bucket, (key, value) =>
            {
                hash = Crc32C.Append(Crc32C.Append(hash, key), value);
                if (isKeys)
                {
                    revision = Count(keys, key, value);
                }
            });
        }

        return new DatabaseStatus(hash, revision, keys.Count, _bolt.Bytes, MetaText(DatabaseBuckets.StorageVersion));
    }

    private MvccStore Build(StoreBuilder builder)
    {
        // A compaction that was begun is finished here, as etcd does at its start.
        long compacted = Math.Max(MetaRevision(DatabaseBuckets.ScheduledCompaction), MetaRevision(DatabaseBuckets.FinishedCompaction));
        return builder.Build(Math.Max(builder.LastRevision, compacted), compacted);
    }

    private static RevisionKey ReadRevision(ReadOnlySpan<byte> bytes) => RevisionKey.TryRead(bytes, out RevisionKey key)
        ? key
        : throw new FormatException($"\"{Convert.ToHexString(bytes)}\" in bucket \"key\" is no revision");

    private long Count(HashSet<byte[]> keys, ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> value)
    {
        try
        {
            RevisionKey at = ReadRevision(bytes);
            ReadOnlySpan<byte> key = KeyValueRecord.Parse(value).Key;
            if (at.IsTombstone)
            {
                keys.Remove(key.ToArray());
            }
            else
            {
                keys.Add(key.ToArray());
            }

            return at.Main;
        }
        catch (FormatException e)
        {
            throw new CorruptDatabaseException(path, 0, e.Message);
        }
    }

    /// <summary>leasepb.Lease: ID = 1, TTL = 2, RemainingTTL = 3; the last is 0 where it was not kept.</summary>
    private static (long Id, long Ttl, long Remaining) ReadLease(ReadOnlySpan<byte> value)
    {
        CodedInputStream input = new(value.ToArray());
        long id = 0;
        long ttl = 0;
        long remaining = 0;
        for (uint tag = input.ReadTag(); tag != 0; tag = input.ReadTag())
        {
            switch (tag)
            {
                case 1 << 3:
                    id = input.ReadInt64();
                    break;
                case 2 << 3:
                    ttl = input.ReadInt64();
                    break;
                case 3 << 3:
                    remaining = input.ReadInt64();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }

        return (id, ttl, remaining);
    }

    private T Guarded<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is FormatException or InvalidProtocolBufferException)
        {
            throw new CorruptDatabaseException(path, 0, e.Message);
        }
    }

    private byte[]? Meta(string name)
    {
        byte[]? found = null;
        _bolt.Visit(DatabaseBuckets.Meta, (key, value) =>
        {
            if (key.SequenceEqual(System.Text.Encoding.ASCII.GetBytes(name)))
            {
                found = value.ToArray();
            }
        });
        return found;
    }

    private string MetaText(string name) => System.Text.Encoding.UTF8.GetString(Meta(name) ?? []);

    private long MetaRevision(string name) => Meta(name) is not { } bytes ? 0 : Math.Max(0, ReadRevision(bytes).Main);

    private sealed class ByteKeys : IEqualityComparer<byte[]>
    {
        public static readonly ByteKeys Instance = new();

        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public int GetHashCode(byte[] obj)
        {
            HashCode hash = default;
            hash.AddBytes(obj);
            return hash.ToHashCode();
        }
    }
}
